"""Stat, Create, Unlink, Rename, Mkdir, Rmdir, Readdir, Truncate, Fsync."""

import errno
import threading
import time

import pytest


def names(client, path):
    return [entry.name for entry in client.Readdir(path)]


def test_stat_tells_what_a_file_is(gd2fs, client, folder):
    before = time.time() - 60
    client.write_from(f"{folder}/file", b"x" * 12345)
    stat = client.Stat(f"{folder}/file")
    assert stat.size == 12345 and stat.type == gd2fs.FileType.FILE
    assert stat.is_file() and not stat.is_dir()
    assert stat.inode > 0 and stat.chunk_bytes >= 65536
    assert before < stat.mtime < time.time() + 60 and before < stat.ctime < time.time() + 60
    other = client.Stat(folder)
    assert other.is_dir() and other.size == 0 and other.inode != stat.inode


def test_create_makes_zeros_once(client, folder):
    path = f"{folder}/file"
    client.Create(path, 100_000)
    target = bytearray(b"\xff" * 100_001)
    assert client.read_into(path, target) == 100_000
    assert target[:100_000] == bytes(100_000)
    with pytest.raises(FileExistsError) as failure:
        client.Create(path)
    assert failure.value.errno == errno.EEXIST and failure.value.filename == path
    assert "server" in failure.value.strerror
    client.Create(f"{folder}/empty")
    assert client.Stat(f"{folder}/empty").size == 0


def test_of_racing_creators_exactly_one_wins(stack, folder):
    results = []
    barrier = threading.Barrier(8)

    def create(path):
        with stack.connect() as client:
            barrier.wait()
            try:
                client.Create(path)
                results.append("won")
            except FileExistsError:
                results.append("lost")

    for round_number in range(3):
        threads = [threading.Thread(target=create, args=(f"{folder}/{round_number}",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == ["lost"] * 21 + ["won"] * 3


def test_unlink_and_rename(client, folder):
    client.write_from(f"{folder}/a", b"a")
    client.write_from(f"{folder}/b", b"bb")
    client.Rename(f"{folder}/a", f"{folder}/b")
    assert names(client, folder) == ["b"] and client.Stat(f"{folder}/b").size == 1
    client.Unlink(f"{folder}/b")
    assert names(client, folder) == []
    for call in (
        lambda: client.Stat(f"{folder}/b"),
        lambda: client.Unlink(f"{folder}/b"),
        lambda: client.Rename(f"{folder}/b", f"{folder}/c"),
        lambda: client.Truncate(f"{folder}/b", 1),
        lambda: client.Fsync(f"{folder}/b"),
        lambda: client.read_into(f"{folder}/b", bytearray(1)),
    ):
        with pytest.raises(FileNotFoundError):
            call()


def test_folders(client, folder):
    client.Mkdir(f"{folder}/d")
    with pytest.raises(FileExistsError):
        client.Mkdir(f"{folder}/d")
    with pytest.raises(FileNotFoundError):
        client.Mkdir(f"{folder}/no/d")
    client.write_from(f"{folder}/d/file", b"x")
    with pytest.raises(OSError) as failure:
        client.Rmdir(f"{folder}/d")
    assert failure.value.errno == errno.ENOTEMPTY
    with pytest.raises(NotADirectoryError):
        client.Rmdir(f"{folder}/d/file")
    with pytest.raises(NotADirectoryError):
        client.Readdir(f"{folder}/d/file")
    with pytest.raises(IsADirectoryError):
        client.Unlink(f"{folder}/d")
    client.Rename(f"{folder}/d", f"{folder}/e")
    assert names(client, f"{folder}/e") == ["file"]
    client.Unlink(f"{folder}/e/file")
    client.Rmdir(f"{folder}/e")
    assert names(client, folder) == []


def test_readdir_lists_more_than_one_answer_holds_in_byte_order(gd2fs, client, folder):
    expected = sorted(f"file-{i}" for i in range(2500))
    for name in expected:
        client.Create(f"{folder}/{name}", len(name))
    client.Mkdir(f"{folder}/dir")
    entries = client.Readdir(folder)
    assert [entry.name for entry in entries] == ["dir", *expected]
    assert entries[0].is_dir() and entries[0].type == gd2fs.FileType.DIRECTORY
    assert all(entry.is_file() and entry.size == len(entry.name) for entry in entries[1:])
    assert len({entry.inode for entry in entries}) == len(entries)
    assert entries[1].inode == client.Stat(f"{folder}/{expected[0]}").inode


def test_exactly_one_answer_full_of_names(client, folder):
    for i in range(1024):
        client.Create(f"{folder}/{i:04}")
    assert len(client.Readdir(folder)) == 1024


@pytest.mark.parametrize("name", ["größe", "模型", "a b\tc", "-", "\u202e", "bytes-\udcff\udc80"])
def test_names_are_bytes_and_come_back_as_they_were(client, folder, name):
    path = f"{folder}/{name}"
    client.write_from(path, b"x")
    assert names(client, folder) == [name]
    assert client.Stat(path).size == 1
    client.Unlink(path)


def test_truncate_cuts_and_extends_with_zeros(client, folder):
    path = f"{folder}/file"
    client.write_from(path, b"x" * 100)
    client.Truncate(path, 10)
    assert client.Stat(path).size == 10
    client.Truncate(path, 50)
    target = bytearray(100)
    assert client.read_into(path, target) == 50
    assert target[:50] == b"x" * 10 + bytes(40)


def test_a_size_that_no_file_has_is_a_value_error(client, folder):
    with pytest.raises(ValueError):
        client.Create(f"{folder}/x", -1)
    with pytest.raises(ValueError):
        client.Truncate(f"{folder}/x", 2**64)


def test_fsync_returns_when_all_is_durable(client, folder):
    client.write_from(f"{folder}/file", b"x" * 1_000_000)
    client.Fsync(f"{folder}/file")


def test_calls_from_many_threads_do_not_mix_up(client, folder):
    for i in range(16):
        client.Create(f"{folder}/{i}", i * 1000)
    wrong = []

    def work(i):
        for _ in range(50):
            if client.Stat(f"{folder}/{i}").size != i * 1000:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
