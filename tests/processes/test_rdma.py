"""The data path over RDMA, and what happens when a rail, a server or a client goes away in the middle.

Runs where there are two rails: GD2FS_DPADDR="rdma://10.77.0.1,rdma://10.77.1.1" names local addresses of two RDMA ports, which server and
clients both use. tests/rdma/run.sh sets it in its guest; two NICs of a real machine do as well, but a test takes each of them down.
"""
import contextlib
import ctypes
import ipaddress
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy
import pytest

import library
import load
import shm_reader
from deployment import RAILS

pytestmark = pytest.mark.skipif(len(RAILS) < 2, reason="no two rails in GD2FS_DPADDR")
HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
# Of a request: two work requests, and small enough for software NICs in an emulated guest, which move some 10 MB/s.
PIECE = 2 * MIB
SIZE = 8 * MIB  # of a file


class Rail:
    """An RDMA port, found by an address of it, and how much it has carried."""

    def __init__(self, address):
        wanted = ipaddress.ip_address(address)
        if wanted.version == 4:
            wanted = ipaddress.ip_address(f"::ffff:{address}")
        for gid in pathlib.Path("/sys/class/infiniband").glob("*/ports/*/gids/*"):
            if ipaddress.ip_address(gid.read_text().strip()) == wanted:
                self.port = gid.parents[1]
                self.netdev = (self.port / "gid_attrs/ndevs" / gid.name).read_text().strip()
                return
        raise LookupError(f"no RDMA port has {address}")

    def packets(self):
        soft = self.port / "hw_counters/sent_pkts"
        return int((soft if soft.exists() else self.port / "counters/port_xmit_packets").read_text())

    def set(self, state):
        subprocess.run(["ip", "link", "set", self.netdev, state], check=True)


@pytest.fixture
def rails():
    made = [Rail(address.strip("[]")) for address in RAILS[:2]]
    yield made
    for rail in made:
        rail.set("up")


@pytest.fixture
def cleanup():
    with contextlib.ExitStack() as stack:
        yield stack


def client_of(cleanup, deployment, **options):
    ctx = library.Ctx(deployment.address, deployment.cluster, deployment.token_file, buffer_bytes=PIECE, **options)
    cleanup.callback(ctx.close)
    return ctx


def write_file(ctx):
    shm_reader.write_file(ctx, "/a", 1, SIZE, PIECE)


def check_piece(ctx, path, seed, offset):
    ctx._transfer(library.READ, path, offset, PIECE)
    view = numpy.frombuffer(ctx.buffer, dtype=numpy.uint64)
    assert numpy.array_equal(view, shm_reader.pattern(seed, offset, PIECE)), f"wrong bytes in {path} at {offset}"


class Traffic(threading.Thread):
    """Reads a file and writes another, each byte checked, until it is told to stop; any failure is kept."""

    def __init__(self, deployment, path, seed, size):
        super().__init__()
        self.ctx = library.Ctx(deployment.address, deployment.cluster, deployment.token_file, buffer_bytes=PIECE)
        self.path, self.seed, self.size = path, seed, size
        self.done = 0
        self.failure = None
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                offset = self.done * PIECE % self.size
                check_piece(self.ctx, self.path, self.seed, offset)
                data = shm_reader.pattern(self.seed + 1, offset, PIECE // 4).tobytes()
                self.ctx.write(self.path + ".copy", 0, data)
                assert self.ctx.read(self.path + ".copy", 0, len(data)) == data
                self.done += 1
        except BaseException as failure:  # told by stop()
            self.failure = failure

    def more(self, rounds, seconds=60):
        """Waits for so many more rounds."""
        until, deadline = self.done + rounds, time.monotonic() + seconds
        while self.done < until and self.failure is None:
            assert time.monotonic() < deadline, f"{self.done} of {until} rounds in time"
            time.sleep(0.02)
        if self.failure is not None:
            raise self.failure

    def stop(self):
        self.stopping.set()
        self.join(timeout=60)
        assert not self.is_alive(), "a request hangs"
        if self.failure is not None:
            raise self.failure
        self.ctx.close()


def session_paths(deployment):
    return {session["path"] for session in deployment.json("status")["servers"][0]["sessions"]}


def test_bytes_take_both_rails_and_status_says_so(deployment, cleanup, rails):
    ctx = client_of(cleanup, deployment)
    before = [rail.packets() for rail in rails]
    write_file(ctx)
    for offset in range(0, SIZE, PIECE):
        check_piece(ctx, "/a", 1, offset)
    assert "rdma" in session_paths(deployment)
    moved = [rail.packets() - was for rail, was in zip(rails, before)]
    # 16 MiB in packets of 4 KiB are 4096; each rail has its fair part of them.
    assert sum(moved) > 4000, moved
    assert min(moved) > sum(moved) // 10, moved


def test_requests_finish_on_the_other_rail_when_one_goes_down_and_it_is_used_again(deployment, cleanup, rails):
    ctx = client_of(cleanup, deployment)
    write_file(ctx)
    traffic = Traffic(deployment, "/a", 1, SIZE)
    traffic.start()
    cleanup.callback(traffic.stopping.set)
    traffic.more(2)
    for down, other in (rails, rails[::-1]):
        down.set("down")
        was = other.packets()
        traffic.more(3)
        assert other.packets() > was
        down.set("up")
        was, deadline = down.packets(), time.monotonic() + 60
        # More than a look whether it is there: bytes.
        while down.packets() < was + 500:
            assert time.monotonic() < deadline, "the rail that came back is not used"
            traffic.more(1)
    traffic.stop()


def test_a_killed_server_is_served_again_at_the_same_address(make_deployment, seeded):
    deployment = make_deployment().start()
    workers = [load.Worker(deployment, f"w{number}", seeded.randrange(2**32)) for number in range(2)]
    for worker in workers:
        worker.start()
    checker = library.Ctx(deployment.address, deployment.cluster, deployment.token_file)
    try:
        for _ in range(2):
            time.sleep(seeded.uniform(0.5, 2))
            deployment.up.kill()
            deployment.start_up()
            before = [worker.acknowledged for worker in workers]
            deadline = time.monotonic() + 60
            while any(worker.acknowledged == was and worker.failure is None for worker, was in zip(workers, before)):
                assert time.monotonic() < deadline, "no progress"
                time.sleep(0.02)
    finally:
        for worker in workers:
            worker.stop()
    for worker in workers:
        load.check_worker(checker, worker)
    checker.close()
    assert "0 damaged blocks" in deployment.run("scrub")


def test_a_client_killed_in_the_middle_leaves_nothing_behind(deployment, cleanup):
    ctx = client_of(cleanup, deployment)
    write_file(ctx)
    for _ in range(2):
        arguments = [deployment.address, deployment.cluster, str(deployment.token_file), "/a", "1", str(PIECE)]
        reader = subprocess.Popen([sys.executable, str(HERE / "shm_reader.py"), *arguments], stdout=subprocess.PIPE, text=True)
        assert reader.stdout.readline() == "ok\n"
        time.sleep(0.1)
        reader.kill()
        reader.communicate()
        deadline = time.monotonic() + 10
        while deployment.json("status")["servers"][0]["counters"]["gd2fs_store_pages_held"] > 0:
            assert time.monotonic() < deadline, "pages are held for a dead client"
            time.sleep(0.2)
    check_piece(ctx, "/a", 1, 0)


def test_a_stopped_server_that_wakes_up_does_not_touch_a_buffer_that_was_given_up(make_deployment, cleanup):
    """The most dangerous moment: the timeout has passed, the application uses its buffer for something else, and then
    the server goes on with what it had begun."""
    deployment = make_deployment(split=True).start()
    ctx = client_of(cleanup, deployment, timeout_ms=2000)
    write_file(ctx)
    pieces = SIZE // PIECE
    buffer = ctypes.create_string_buffer(pieces * PIECE)
    iomem = ctx.library.xfer_gd2fs_reg_iomem(ctx.ctx, buffer, len(buffer), None)
    assert iomem
    canary = b"\xa5" * PIECE
    timed_out = 0
    for turn in range(3):
        ctypes.memset(buffer, 0, len(buffer))
        for number in range(pieces):
            sge = library.Sge(addr=ctypes.addressof(buffer) + number * PIECE, len=PIECE, iomem=iomem)
            op = library.Op(opcode=library.READ, id=number + 1, filepath=b"/a", off=number * PIECE, sges=ctypes.pointer(sge), nsge=1)
            assert ctx.library.xfer_gd2fs_submit(ctx.ctx, None, ctypes.byref(op)) == PIECE
        time.sleep(0.05 * turn)
        os.kill(deployment.server.pid, signal.SIGSTOP)
        given_up = []
        try:
            for _ in range(pieces):
                done = library.Completion()
                assert ctx.library.xfer_gd2fs_wait(ctx.ctx, ctypes.byref(done), 1, 30000) == 1, "a request outlives its timeout"
                number = done.id - 1
                if done.status:
                    assert done.status >> 8 & 7 == library.CLASS_TRANSPORT
                    timed_out += 1
                # Whatever became of it: from now on these bytes are ours.
                buffer[number * PIECE:(number + 1) * PIECE] = canary
                given_up.append(number)
        finally:
            os.kill(deployment.server.pid, signal.SIGCONT)
        for _ in range(20):
            time.sleep(0.1)
            for number in given_up:
                assert buffer[number * PIECE:(number + 1) * PIECE] == canary, f"late bytes in turn {turn}"
    assert timed_out > 0, "the server was never stopped in time"
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(library.Error):
            check_piece(ctx, "/a", 1, 0)
            break
        assert time.monotonic() < deadline, "not served again"
