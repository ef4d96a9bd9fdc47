"""Prefetch, Resident, Evict, SetPinned: what the servers have of a file in memory."""

import asyncio

import pytest

SIZE = 3_000_000


@pytest.fixture
def path(client, folder):
    name = f"{folder}/weights"
    client.write_from(name, b"w" * SIZE)
    client.Evict(name)
    return name


def test_prefetch_brings_a_file_into_memory_and_evict_takes_it_out(client, path):
    assert client.Resident(path) == 0
    assert client.Prefetch(path) == SIZE
    assert client.Resident(path) == SIZE
    assert client.Resident(path, SIZE - 1000) == 1000
    assert client.Resident(path, 100, 50) == 50
    client.Evict(path)
    assert client.Resident(path) == 0
    target = bytearray(SIZE)
    assert client.read_into(path, target) == SIZE
    assert target == b"w" * SIZE
    assert client.Resident(path) == SIZE


def test_a_part_can_be_prefetched_and_nothing_lies_behind_the_end(client, path):
    assert client.Prefetch(path, 0, 1_000_000) == 1_000_000
    assert client.Resident(path, SIZE, 100) == 0
    assert client.Prefetch(path, SIZE + 5) == 0


def test_the_same_from_an_event_loop(client, path):
    async def run():
        assert await client.PrefetchAsync(path) == SIZE
        assert await client.ResidentAsync(path) == SIZE
        await client.SetPinnedAsync(path)
        assert (await client.StatAsync(path)).pinned
        await client.EvictAsync(path)
        assert await client.ResidentAsync(path) == 0

    asyncio.run(run())


def test_a_pin_is_an_attribute_of_the_file(client, path, folder):
    assert not client.Stat(path).pinned
    client.SetPinned(path)
    assert client.Stat(path).pinned
    client.Rename(path, f"{folder}/renamed")
    assert client.Stat(f"{folder}/renamed").pinned
    client.SetPinned(f"{folder}/renamed", False)
    assert not client.Stat(f"{folder}/renamed").pinned


def test_what_is_not_there_or_no_file_fails(client, folder):
    for call in (client.Prefetch, client.Resident, client.Evict, client.SetPinned):
        with pytest.raises(FileNotFoundError):
            call(f"{folder}/missing")
        with pytest.raises(IsADirectoryError):
            call(folder)
