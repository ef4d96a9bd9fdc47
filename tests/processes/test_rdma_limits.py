"""RDMA where something runs out: memory that may be locked, and credit for messages. Where there are two rails, as test_rdma.py."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import pytest

import library
import shm_reader
import small_requests
from deployment import RAILS, Deployment, free_port

pytestmark = pytest.mark.skipif(len(RAILS) < 2, reason="no two rails in GD2FS_DPADDR")
HERE = pathlib.Path(__file__).resolve().parent
FILE = small_requests.REQUESTS * small_requests.SMALL
ALL = small_requests.THREADS * (FILE + 2 * small_requests.WRITTEN)
# The message buffers of six sessions (three ctx, two rails) are 3.2 MiB; a ctx's buffer is more than this alone.
ENOUGH_FOR_MESSAGES = 4 << 20
NOT_EVEN_FOR_MESSAGES = 64 << 10


class Served:
    """A deployment with a file, its metrics, and clients that may lock so many bytes of memory."""

    def __init__(self, place):
        self.metrics_port = free_port()
        self.deployment = Deployment(place, "--metrics", f"127.0.0.1:{self.metrics_port}").start()
        data = shm_reader.pattern(1, 0, FILE).tobytes()
        self.expected = self.deployment.place / "expected"
        self.expected.write_bytes(data)
        ctx = library.Ctx(self.deployment.address, self.deployment.cluster, self.deployment.token_file, buffer_bytes=FILE)
        ctx.create("/a")
        ctx.write("/a", 0, data)
        ctx.close()

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        value, = (float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " "))
        return value

    def run_client(self, memlock=None, require="rdma", timeout_ms=30000):
        """What it printed, and its log."""
        # Root is bound by no limit, unless it gives up the capability.
        limited = [] if memlock is None else ["setpriv", "--bounding-set=-ipc_lock", "prlimit", f"--memlock={memlock}:{memlock}"]
        program = [sys.executable, str(HERE / "small_requests.py"), self.deployment.address, self.deployment.cluster,
                   str(self.deployment.token_file), "/a", str(self.expected), str(timeout_ms)]
        done = subprocess.run(limited + program, capture_output=True, text=True, timeout=120,
                              env=os.environ | {"GD2FS_REQUIRE": require})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr


@pytest.fixture(scope="module")
def served():
    place = tempfile.mkdtemp(prefix="gd2fs-test-", dir=os.environ.get("GD2FS_TEST_DIR", "/var/tmp"))
    made = Served(place)
    yield made
    made.deployment.close()
    shutil.rmtree(place, ignore_errors=True)


def test_hundreds_of_small_requests_at_once_are_all_answered_and_none_is_copied(served):
    copied = served.metric("gd2fs_rdma_copied_bytes_total")
    moved = served.metric("gd2fs_rdma_written_bytes_total")
    said, log = served.run_client()
    assert said == "ok", log
    assert served.metric("gd2fs_rdma_copied_bytes_total") == copied
    assert served.metric("gd2fs_rdma_written_bytes_total") - moved >= small_requests.THREADS * FILE


def test_memory_that_may_not_be_locked_is_copied_through_messages_that_wait_for_credit_and_that_is_said(served):
    copied = served.metric("gd2fs_rdma_copied_bytes_total")
    waits = served.metric("gd2fs_rdma_credit_waits_total")
    said, log = served.run_client(memlock=ENOUGH_FOR_MESSAGES)
    assert said == "ok", log
    assert "are copied instead of moved by RDMA" in log and "ulimit -l" in log, log
    assert "TCP is used" not in log, log
    assert served.metric("gd2fs_rdma_copied_bytes_total") - copied >= small_requests.THREADS * FILE
    # A reply of six messages, a hundred of them at once: there are 32 buffers for them.
    assert served.metric("gd2fs_rdma_credit_waits_total") > waits


def test_without_memory_even_for_messages_tcp_is_used_and_said_or_it_is_an_error_that_names_the_limit(served):
    moved = served.metric("gd2fs_rdma_written_bytes_total"), served.metric("gd2fs_rdma_copied_bytes_total")
    said, log = served.run_client(memlock=NOT_EVEN_FOR_MESSAGES, require="")
    assert said == "ok", log
    assert "RDMA was asked for, and TCP is used" in log and "ulimit -l" in log, log
    assert (served.metric("gd2fs_rdma_written_bytes_total"), served.metric("gd2fs_rdma_copied_bytes_total")) == moved
    said, log = served.run_client(memlock=NOT_EVEN_FOR_MESSAGES, timeout_ms=3000)
    assert said.startswith("error"), said
    assert "ulimit -l" in log and "TCP is used" not in log, log
