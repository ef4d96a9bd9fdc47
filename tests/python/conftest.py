"""Fixtures for the tests of pygd2fs.

Nearly every test runs twice: on the fake library (tests/fake_gd2fs), where it can hold, fail and hang
operations, and on the real one against a `gd2fs up` of its own. Nothing is skipped: without the
built library and binary the tests of the real one fail and say what to build. GD2FS_BUILD names the build
folder if it is not build/. GD2FS_TEST_CLUSTER=ADDRESS,NAME,TOKEN_FILE takes a cluster that is up already.
"""

import ctypes
import importlib
import itertools
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading

import numpy
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GD2FS_BUILD", ROOT / "build")).resolve()
TEST_SECONDS = 120
DATA_ADDRESS = os.environ.get("GD2FS_DPADDR", "tcp://127.0.0.1")
# A shell that starts a command in the background lets it ignore Ctrl-C, and Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
# GPU memory is that of a fake driver, unless the machine's own is asked for.
if os.environ.get("GD2FS_TEST_REAL_GPU") != "1":
    os.environ.setdefault("GD2FS_CUDA_LIBRARY", str(BUILD / "lib" / "fake_cuda" / "libcuda.so.1"))
sys.path.insert(0, str(BUILD / "python-fake"))
if str(BUILD / "python") not in sys.path:
    sys.path.insert(0, str(BUILD / "python"))


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


class Server:
    """A `gd2fs up` on a free port with a data folder of its own."""

    cluster = "pytest"

    def __init__(self, data):
        binary = BUILD / "bin" / "gd2fs"
        if not binary.exists():
            pytest.fail(f"{binary} is not there: build it (tools/build.sh), or set GD2FS_BUILD", pytrace=False)
        self.data = data
        self.log = open(data.parent / "gd2fs-up.log", "wb")
        # Where clients are to use RDMA, the server listens for it.
        rails = re.findall(r"rdma://[^,]+", os.environ.get("GD2FS_DPADDR", ""))
        listen = ["--set", "server.listen=" + ",".join(rails)] if rails else []
        self.process = subprocess.Popen(
            [binary, "up", "--data", data, "--listen", "127.0.0.1:0", "--cluster", self.cluster, "--slab", "1GiB", *listen],
            stdout=subprocess.PIPE,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
            env=dict(os.environ, HOME=str(data.parent)),  # its token is for nobody else's programs
        )
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=60).decode()
        except queue.Empty:
            line = ""
        if not line.startswith("ready gd2fs://"):
            self.process.kill()
            pytest.fail(f"`gd2fs up` said {line!r} instead of ready; its log: {self.text()}", pytrace=False)
        self.address = line.split()[1]
        self.token_file = data / "tokens" / self.cluster

    def text(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(errors="replace")[-4000:]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"`gd2fs up` does not stop on SIGTERM; its log: {self.text()}", pytrace=False)
        assert code == 0, self.text()


class RunningServer:
    """A cluster that somebody else started."""

    def __init__(self, words):
        self.address, self.cluster, self.token_file = words.split(",")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if "GD2FS_TEST_CLUSTER" in os.environ:
        running = RunningServer(os.environ["GD2FS_TEST_CLUSTER"])
        os.environ["GD2FS_TOKEN_FILE"] = running.token_file
        yield running
        return
    data = tmp_path_factory.mktemp("gd2fs") / "data"
    running = Server(data)
    os.environ["GD2FS_TOKEN_FILE"] = str(running.token_file)
    yield running
    running.stop()
    shutil.rmtree(data)


class Stack:
    """What a test stands on: the package `gd2fs`, and how to reach a cluster with it."""

    def __init__(self, gd2fs, address, cluster, fake):
        self.gd2fs = gd2fs
        self.address = address
        self.cluster = cluster
        self.fake = fake  # the fake library's own functions, or None

    def connect(self, **options):
        return self.gd2fs.Client(self.address, DATA_ADDRESS, self.cluster, 1, 1, 1, **options)

    def environment(self):
        """For a process that imports the same package."""
        folder = pathlib.Path(self.gd2fs.__file__).parent.parent
        return dict(
            os.environ,
            PYTHONPATH=str(folder),
            PACKAGE=self.gd2fs.__name__,
            CPADDR=self.address,
            DPADDR=DATA_ADDRESS,
            CLUSTER=self.cluster,
            PYTHONDONTWRITEBYTECODE="1",
        )


def _fake_functions():
    library = ctypes.CDLL(str(BUILD / "lib" / "libfake_gd2fs.so"))
    prefix = "fake_gd2fs_"

    class Fake:
        def __getattr__(self, name):
            return getattr(library, prefix + name)

    return Fake()


@pytest.fixture(scope="session")
def fake_stack():
    return Stack(
        importlib.import_module("pygd2fs_on_fake"), "gd2fs://127.0.0.1:1", "fake", _fake_functions()
    )


@pytest.fixture(scope="session")
def real_stack(server):
    module = importlib.import_module("pygd2fs")
    return Stack(module, server.address, server.cluster, None)


@pytest.fixture(params=["fake", "real"])
def stack(request):
    stack = request.getfixturevalue(f"{request.param}_stack")
    if stack.fake:
        stack.fake.reset()
    yield stack
    if stack.fake:
        stack.fake.reset()


@pytest.fixture
def fake(fake_stack):
    """The fake's own functions, for tests that hold or fail operations."""
    fake_stack.fake.reset()
    yield fake_stack.fake
    fake_stack.fake.reset()


@pytest.fixture
def gd2fs(stack):
    return stack.gd2fs


_numbers = itertools.count()


@pytest.fixture
def client(stack):
    with stack.connect() as client:
        yield client


@pytest.fixture
def folder(client):
    """A fresh folder of the cluster."""
    path = f"/test-{os.getpid()}-{next(_numbers)}"
    client.Mkdir(path)
    return path


@pytest.fixture
def fake_client(fake_stack, fake):
    with fake_stack.connect() as client:
        yield client
        fake.reset()


class Memory:
    """Registered memory, as the callers make it: by address."""

    def __init__(self, client, length):
        self.bytes = numpy.zeros(length, numpy.uint8)
        self.client = client
        self.SGE = importlib.import_module(type(client).__module__.split(".")[0]).SGE
        self.iomem = client.RegIOMEM(self.bytes.ctypes.data, length)

    def sge(self, offset=0, length=None):
        length = len(self.bytes) - offset if length is None else length
        return self.SGE(self.bytes.ctypes.data + offset, length, self.iomem)


@pytest.fixture
def memory(client):
    return Memory(client, 1 << 20)


@pytest.fixture
def fake_memory(fake_client):
    return Memory(fake_client, 1 << 20)


def wait_for(client, *requests):
    """Waits until the requests have been handed out."""
    missing = set(requests)
    while missing:
        missing -= set(client.Wait(-1))


def pattern(length, seed=1):
    return numpy.random.default_rng(seed).integers(0, 256, length, numpy.uint8)
