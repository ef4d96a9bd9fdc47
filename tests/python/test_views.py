"""Views: bytes looked at where they lie. On the fake library they are always copies."""

import gc
import os

import numpy
import pytest
from conftest import pattern


def test_a_view_shows_the_bytes_and_is_read_only(client, folder):
    data = pattern(1 << 20, seed=1)
    client.write_from(folder + "/view", data)
    view = client.View(folder + "/view", 4096, 100_000)
    assert len(view) == 100_000
    seen = numpy.frombuffer(view, numpy.uint8)
    assert bytes(seen) == bytes(data)[4096:104_096]
    with pytest.raises(ValueError):
        seen[0] = 1
    with pytest.raises(BufferError):
        view.Release()  # somebody looks
    assert not view.released
    del seen
    gc.collect()
    assert view.Release() is True
    assert view.released
    with pytest.raises(ValueError):
        view.Release()
    with pytest.raises(BufferError):
        memoryview(view)


def test_a_view_ends_at_the_end_of_the_file_and_needs_a_file(client, folder):
    client.write_from(folder + "/short", b"0123456789")
    assert bytes(client.View(folder + "/short", 4, 100)) == b"456789"
    with pytest.raises(FileNotFoundError):
        client.View(folder + "/not-there", 0, 10)
    with pytest.raises(ValueError):
        client.View(folder + "/short", 0, 0)


def test_a_view_outlives_its_client(client, folder):
    client.write_from(folder + "/view", pattern(1 << 20, seed=2))
    view = client.View(folder + "/view", 0, 1 << 20)
    client.close()
    assert bytes(view) == bytes(pattern(1 << 20, seed=2))
    assert view.Release() is True


def test_a_view_of_the_servers_memory_goes_stale_when_the_file_is_written_again(client, folder, stack):
    lends = stack.fake is None and os.environ.get("GD2FS_SHM") != "off"
    client.write_from(folder + "/view", pattern(1 << 20, seed=3))
    view = client.View(folder + "/view", 0, 1 << 20)
    assert view.zero_copy == lends
    client.write_from(folder + "/view", pattern(1 << 20, seed=4))
    assert view.Release() is (not view.zero_copy)
    with_new = client.View(folder + "/view", 0, 1 << 20)
    assert bytes(with_new) == bytes(pattern(1 << 20, seed=4))
