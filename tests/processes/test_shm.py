"""The same-host path: chosen by itself, and what happens when one side dies, stops or turns hostile.

GD2FS_STOP_SECONDS (8) is how long a client is stopped; as root, for the looks into other processes' memory.
"""
import contextlib
import ctypes
import fcntl
import mmap
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import library
import shm_reader
from deployment import GD2FS

STOP_SECONDS = float(os.environ.get("GD2FS_STOP_SECONDS", "8"))
HERE = pathlib.Path(__file__).resolve().parent
F_ADD_SEALS, F_GET_SEALS, F_SEAL_WRITE = 1033, 1034, 8

pytestmark = pytest.mark.skipif(os.environ.get("GD2FS_SHM") == "off", reason="this run is over TCP")


def counter(deployment, name):
    return deployment.json("status")["servers"][0]["counters"][name]


def wait_for(what, seconds, message):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, message
        time.sleep(0.02)


class Reader:
    """shm_reader.py in a process of its own."""

    def __init__(self, deployment, path, seed, cluster=None, token=None):
        arguments = [deployment.address, cluster or deployment.cluster, str(token or deployment.token_file), path, str(seed)]
        self.process = subprocess.Popen([sys.executable, str(HERE / "shm_reader.py"), *arguments], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=dict(os.environ, GD2FS_REQUIRE="shm"), text=True)

    def line(self):
        line = self.process.stdout.readline().strip()
        assert line and not line.startswith(("WRONG", "Traceback")), line + self.process.stdout.readline()
        return line

    def signal(self, number):
        self.process.send_signal(number)

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def cleanup():
    with contextlib.ExitStack() as stack:
        yield stack


def reader_of(cleanup, *arguments, **options):
    reader = Reader(*arguments, **options)
    cleanup.callback(reader.close)
    return reader


def client_of(cleanup, deployment, cluster=None, token=None):
    ctx = library.Ctx(deployment.address, cluster or deployment.cluster, token or deployment.token_file,
                      buffer_bytes=shm_reader.PIECE)
    cleanup.callback(ctx.close)
    return ctx


def arena_maps(pid):
    """(begin, end, permissions) of every arena that a process maps."""
    text = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return [(int(begin, 16), int(end, 16), rights)
            for begin, end, rights in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) .*memfd:gd2fs-arena", text, re.M)]


def test_a_client_of_this_host_uses_shared_memory_and_status_says_so(deployment, cleanup):
    ctx = client_of(cleanup, deployment)
    ctx.write("/a", 0, b"x" * 1000000)
    assert ctx.read("/a", 0, 1000000) == b"x" * 1000000
    assert counter(deployment, "gd2fs_server_sessions_shm") == 1
    assert "BY SHM" in deployment.run("status")
    assert arena_maps(os.getpid())
    assert all(rights == "r--s" for _, _, rights in arena_maps(os.getpid()))


def test_it_can_be_forbidden_by_the_client_and_by_the_server_and_required(make_deployment):
    deployment = make_deployment("--set", "server.shm=false").start()
    (deployment.place / "a").write_bytes(b"y" * 100000)
    deployment.run("put", "a", "/a")
    assert deployment.run("cat", "/a") == "y" * 100000
    deployment.run("cat", "/a", env=deployment.env(GD2FS_REQUIRE="shm"), code=9)
    assert "not supported" in deployment.last.stderr, deployment.last.stderr
    deployment.stop()
    deployment.arguments = []
    deployment.start()
    assert deployment.run("cat", "/a", env=deployment.env(GD2FS_REQUIRE="shm")) == "y" * 100000
    assert deployment.run("cat", "/a", env=deployment.env(GD2FS_SHM="off")) == "y" * 100000


def test_a_client_killed_in_the_middle_of_reads_holds_no_pages_a_second_later(deployment, cleanup):
    ctx = client_of(cleanup, deployment)
    shm_reader.write_file(ctx, "/a", 1, 64 << 20)
    for _ in range(5):
        reader = reader_of(cleanup, deployment, "/a", 1)
        assert reader.line() == "ok"
        time.sleep(0.05)
        reader.signal(signal.SIGKILL)
        wait_for(lambda: counter(deployment, "gd2fs_store_pages_held") == 0, 1, "pages are held for a dead client")


def test_a_stopped_client_blocks_no_eviction_and_reads_no_wrong_bytes_when_it_wakes_up(deployment, cleanup):
    ctx = client_of(cleanup, deployment)
    shm_reader.write_file(ctx, "/a", 1, 64 << 20)
    readers = [reader_of(cleanup, deployment, "/a", 1) for _ in range(3)]
    for reader in readers:
        for _ in range(5):
            assert reader.line() == "ok"
    for reader in readers:
        reader.signal(signal.SIGSTOP)
    # Twice the slab, while they sleep with whatever they had.
    until = time.monotonic() + STOP_SECONDS
    number = 0
    while number < 8 or time.monotonic() < until:
        shm_reader.write_file(ctx, f"/b{number}", 100 + number, 64 << 20)
        ctx.unlink(f"/b{number}")
        number += 1
    wait_for(lambda: counter(deployment, "gd2fs_store_pages_held") == 0, 8, "pages are held for a stopped client")
    for reader in readers:
        reader.signal(signal.SIGCONT)
    for reader in readers:
        lines = [reader.line() for _ in range(20)]
        assert lines.count("ok") >= 15, lines


def test_a_killed_server_is_typed_errors_and_then_served_again(deployment, cleanup):
    ctx = client_of(cleanup, deployment)
    shm_reader.write_file(ctx, "/a", 1, 32 << 20)
    reader = reader_of(cleanup, deployment, "/a", 1)
    for _ in range(3):
        assert reader.line() == "ok"
        deployment.up.kill()
        time.sleep(0.2)
        deployment.start_up()
        lines = [reader.line() for _ in range(10)]
        assert lines[-1] == "ok", lines
    # It lets go of what the dead servers had given it.
    assert len(arena_maps(reader.process.pid)) <= 2, arena_maps(reader.process.pid)


def test_a_client_can_do_nothing_to_an_arena_but_read_it(deployment, cleanup):
    ctx = client_of(cleanup, deployment)
    ctx.write("/a", 0, b"x" * 1000000)
    assert ctx.read("/a", 0, 1000000) == b"x" * 1000000
    libc = ctypes.CDLL(None, use_errno=True)
    for begin, end, _ in arena_maps(os.getpid()):
        assert libc.mprotect(ctypes.c_void_p(begin), ctypes.c_size_t(4096), 3) == -1  # PROT_READ | PROT_WRITE
        # Its descriptor, opened anew for writing, as root may.
        path = f"/proc/self/map_files/{begin:x}-{end:x}"
        fd = os.open(path, os.O_RDWR)
        cleanup.callback(os.close, fd)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"!", 0)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        for length in (0, 4096, 2 * (end - begin)):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, length)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)
        with pytest.raises(OSError):
            libc_fallocate = libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(4096))  # punch a hole
            if libc_fallocate != 0:
                raise OSError(ctypes.get_errno(), "fallocate")
    assert ctx.read("/a", 0, 1000000) == b"x" * 1000000
    assert deployment.up.running()


def memory_holds(pid, what):
    """Whether the arenas that a process maps hold these bytes anywhere."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, _ in arena_maps(pid):
            for at in range(begin, end, 16 << 20):
                memory.seek(at)
                if what in memory.read(min(16 << 20, end - at)):
                    return True
    return False


def test_an_arena_that_went_to_another_cluster_shows_a_stopped_client_nothing_of_it(make_deployment, cleanup):
    # One arena in all: it must be taken from the one cluster for the other.
    deployment = make_deployment("--slab", "64MiB", "--set", "store.arena=64MiB").start()
    deployment.run("cluster", "create", "other")
    other = deployment.home / ".config/gd2fs/tokens/other"
    mine = client_of(cleanup, deployment)
    shm_reader.write_file(mine, "/a", 1, 16 << 20)
    reader = reader_of(cleanup, deployment, "/a", 1)
    assert reader.line() == "ok"
    reader.signal(signal.SIGSTOP)
    pid = reader.process.pid
    assert arena_maps(pid)
    secret = b"the other cluster's secret bytes"
    theirs = client_of(cleanup, deployment, "other", other)

    def store_theirs():
        try:
            theirs.write("/s", 0, secret * (shm_reader.PIECE // len(secret)))
            return True
        except library.Error:
            return False  # no memory yet: the stopped client's pages are held until its lease ends

    theirs_stored = lambda: store_theirs()
    wait_for(theirs_stored, 20, "the arena is never given away")
    # Large enough for a grant: what is small comes through the ring, and no arena is mapped for it.
    assert theirs.read("/s", 0, shm_reader.PIECE).startswith(secret)
    theirs_maps = memory_holds(os.getpid(), secret)
    assert theirs_maps, "the test looks at the wrong memory"
    assert not memory_holds(pid, secret)
    reader.signal(signal.SIGCONT)
    lines = [reader.line() for _ in range(5)]
    assert lines[-1] == "ok", lines
    assert not memory_holds(pid, secret)


def test_without_huge_pages_memlock_or_room_in_dev_shm_it_works(make_deployment, place):
    script = place / "poor.sh"
    script.write_text("#!/bin/sh\nmount -t tmpfs -o size=64k none /dev/shm && ulimit -l 8192 && exec " + GD2FS + ' "$@"\n')
    script.chmod(0o755)
    deployment = make_deployment()
    (deployment.place / "a").write_bytes(b"z" * 3000000)
    up = ["unshare", "-m", str(script)]
    import deployment as module
    before = module.GD2FS
    process = None
    try:
        class Poor(module.Process):
            def __init__(self, arguments, log, env):
                self.log = pathlib.Path(log)
                with open(log, "ab") as errors:
                    begin = errors.tell()
                    self.process = subprocess.Popen([*up, *arguments], stdout=subprocess.PIPE, stderr=errors,
                                                    stdin=subprocess.DEVNULL, env=env, cwd="/")
                self.ready = self._ready_line(begin)
        process, module.Process = module.Process, Poor
        deployment.start()
    finally:
        module.Process = process
        module.GD2FS = before
    required = deployment.env(GD2FS_REQUIRE="shm")
    deployment.run("put", "a", "/a", env=required)
    assert deployment.run("cat", "/a", env=required) == "z" * 3000000
    # Said by the thread that prepares the memory, which others need not wait for.
    said = lambda: re.search(r"slab: .*pages", deployment.log.read_text(errors="replace"))
    wait_for(said, 30, "the server does not say what its memory is")
