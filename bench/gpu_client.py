"""What the GPU benchmarks share: libgd2fs over ctypes, a `gd2fs up` of their own, rows and checks.

Over the C interface alone, so that any Python with torch will do. The first argument of every benchmark is the
folder of the build, or of what `gpu.sh --pack` made.
"""

import ctypes
import json
import os
import pathlib
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import torch

BUILD = pathlib.Path(sys.argv[1]).resolve()
MIB, GIB = 1 << 20, 1 << 30
TICK = os.sysconf("SC_CLK_TCK")


class Op(ctypes.Structure):
    _fields_ = [
        ("opcode", ctypes.c_uint16), ("flags", ctypes.c_uint16), ("nsge", ctypes.c_uint16), ("reserved0", ctypes.c_uint16),
        ("id", ctypes.c_void_p), ("filepath", ctypes.c_char_p), ("other", ctypes.c_char_p), ("off", ctypes.c_uint64),
        ("size", ctypes.c_uint64), ("sges", ctypes.c_void_p), ("stat", ctypes.c_void_p), ("entries", ctypes.c_void_p),
        ("nentries", ctypes.c_uint32), ("reserved1", ctypes.c_uint32), ("request", ctypes.c_void_p), ("attr", ctypes.c_void_p),
        ("gpu_stream", ctypes.c_uint64), ("reserved", ctypes.c_uint64 * 14),
    ]  # fmt: skip


class Sge(ctypes.Structure):
    _fields_ = [("addr", ctypes.c_uint64), ("len", ctypes.c_uint64), ("iomem", ctypes.c_void_p)]


class Completion(ctypes.Structure):
    _fields_ = [("id", ctypes.c_void_p), ("value", ctypes.c_uint64), ("status", ctypes.c_uint16), ("reserved", ctypes.c_uint8 * 6)]


class Options(ctypes.Structure):
    _fields_ = [
        ("cp_address", ctypes.c_char_p), ("dp_address", ctypes.c_char_p), ("cluster_id", ctypes.c_char_p),
        ("iothreads", ctypes.c_uint32), ("memthreads", ctypes.c_uint32), ("streams", ctypes.c_uint32), ("timeout", ctypes.c_uint32),
        ("log_level", ctypes.c_char_p), ("reserved", ctypes.c_uint64 * 16),
    ]  # fmt: skip


class Counters(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "host_read_bytes", "host_write_bytes", "gpu_straight_read_bytes", "gpu_straight_write_bytes",
            "gpu_ring_read_bytes", "gpu_ring_write_bytes", "gpu_ring_pinned_bytes", "gpu_shared_pinned_bytes",
        )
    ] + [("reserved", ctypes.c_uint64 * 24)]  # fmt: skip


try:
    lib = ctypes.CDLL(str(BUILD / "lib" / "libgd2fs.so.1"))
except OSError:  # no OpenSSL 3 here: take the packed one
    ctypes.CDLL(str(BUILD / "lib" / "libcrypto.so.3"), ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(str(BUILD / "lib" / "libgd2fs.so.1"))
for name, result in (("connect", ctypes.c_void_p), ("reg_iomem", ctypes.c_void_p), ("submit", ctypes.c_ssize_t), ("last_error", ctypes.c_char_p)):
    getattr(lib, "xfer_gd2fs_" + name).restype = result
READ, WRITE, FSYNC = 1, 2, 10


def row(kind, **values):
    print(json.dumps({"row": kind, **values}), flush=True)


def check(what, holds):
    print(("PASS " if holds else "FAIL ") + what, flush=True)


def why():
    return lib.xfer_gd2fs_last_error().decode()


class Server:
    """A `gd2fs up` with cluster `bench`, whose writes are durable on the drive, and `memory`, whose are so in memory."""

    def __init__(self, slab):
        self.folder = tempfile.mkdtemp(prefix="gd2fs-gpu-", dir=os.environ.get("GD2FS_BENCH_DIR"))
        self.environment = dict(os.environ, HOME=self.folder, LD_LIBRARY_PATH=str(BUILD / "lib"))  # not for Python itself
        self.process = subprocess.Popen(
            [BUILD / "bin" / "gd2fs", "up", "--data", self.folder + "/data", "--listen", "127.0.0.1:0", "--cluster", "bench", "--slab", slab],
            stdout=subprocess.PIPE, stderr=open(self.folder + "/log", "wb"), env=self.environment,
        )  # fmt: skip
        line = self.process.stdout.readline().decode()
        if not line.startswith("ready "):
            sys.exit(f"FAIL gd2fs up: {line!r} {open(self.folder + '/log').read()[-3000:]}")
        self.address = line.split()[1].split("?")[0]
        self.environment["GD2FS_CPADDR"] = self.address
        self.create("memory", "--durability", "memory")

    def create(self, cluster, *arguments):
        subprocess.run([BUILD / "bin" / "gd2fs", "cluster", "create", cluster, *arguments], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def token_file(self, cluster):
        return f"{self.folder}/.config/gd2fs/tokens/{cluster}"

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        shutil.rmtree(self.folder, ignore_errors=True)


class Client:
    """One ctx. `query`: what follows the address, as in "?shm=off"."""

    def __init__(self, server, query="", cluster="bench", timeout_ms=0, streams=0):
        os.environ["GD2FS_TOKEN_FILE"] = server.token_file(cluster)
        options = Options(
            cp_address=(server.address + query).encode(), dp_address=b"tcp://127.0.0.1", cluster_id=cluster.encode(), log_level=b"warn",
            timeout=timeout_ms, streams=streams,
        )  # fmt: skip
        self.ctx = ctypes.c_void_p(lib.xfer_gd2fs_connect(ctypes.byref(options)))
        if not self.ctx:
            sys.exit(f"FAIL connect: {why()}")
        self.made = {}  # by move(): requests that are sent again and again
        self.done = (Completion * 64)()

    def close(self):
        lib.xfer_gd2fs_close(self.ctx)

    def reg(self, tensor):
        iomem = lib.xfer_gd2fs_reg_iomem(self.ctx, ctypes.c_void_p(tensor.data_ptr()), ctypes.c_size_t(tensor.numel()), None)
        if not iomem:
            sys.exit(f"FAIL reg_iomem: {why()}")
        return iomem

    def dereg(self, iomem):
        lib.xfer_gd2fs_dereg_iomem(self.ctx, ctypes.c_void_p(iomem))

    def submit(self, opcode, path, offset, sges, stream=0):
        self.send(op_of(opcode, path, offset, sges, stream))

    def send(self, op):
        taken = lib.xfer_gd2fs_submit(self.ctx, None, ctypes.byref(op))
        if taken < 0:
            sys.exit(f"FAIL submit: {taken} {why()}")

    def wait(self, count, may_fail=False):
        """Bytes moved by all; -1 if one failed and may."""
        total, failed = 0, False
        while count:
            got = lib.xfer_gd2fs_wait(self.ctx, self.done, 64, -1)
            for one in self.done[:got]:
                if one.status and not may_fail:
                    sys.exit(f"FAIL a request ended with status {one.status:#x}")
                failed = failed or one.status != 0
                total += one.value
            count -= got
        return -1 if failed else total

    def fsync(self, path):
        op = Op(opcode=FSYNC, filepath=path)
        if lib.xfer_gd2fs_submit(self.ctx, None, ctypes.byref(op)) < 0:
            sys.exit(f"FAIL submit of fsync: {why()}")
        self.wait(1)

    def counters(self):
        """By name, as in xfer_gd2fs_counters."""
        counters = Counters()
        if lib.xfer_gd2fs_get_counters(self.ctx, ctypes.byref(counters)) != 0:
            sys.exit(f"FAIL get_counters: {why()}")
        return {name: getattr(counters, name) for name, _ in Counters._fields_ if name != "reserved"}

    def move(self, opcode, path, tensor, iomem, length, offset=0, depth=1, stream=0):
        """One request, or `depth` equal ones. What Python takes to write them down (10 to 40 us) is spent once."""
        key = (opcode, path, tensor.data_ptr(), iomem, length, offset, depth, stream)
        ops = self.made.get(key)
        if ops is None:
            part = length // depth
            sges = [(Sge * 1)(Sge(tensor.data_ptr() + i * part, part, iomem)) for i in range(depth)]
            ops = self.made[key] = [op_of(opcode, path, offset + i * part, sges[i], stream) for i in range(depth)]
        for op in ops:
            self.send(op)
        return self.wait(depth)


def op_of(opcode, path, offset, sges, stream):
    op = Op(opcode=opcode, nsge=len(sges), filepath=path, off=offset, sges=ctypes.addressof(sges), gpu_stream=stream)
    op.keeps = sges
    return op


def timed(run, server=None):
    """Seconds, and CPU seconds of this process and the server."""

    def cpu():
        own = resource.getrusage(resource.RUSAGE_SELF)
        return own.ru_utime + own.ru_stime + (server.cpu_seconds() if server else 0)

    torch.cuda.synchronize()
    began, cpu_before = time.perf_counter(), cpu()
    run()
    seconds = time.perf_counter() - began
    return seconds, cpu() - cpu_before


def rounds_of(length):
    """Single transfers of 64 MiB lie some 10% apart on a quiet machine: their median needs more of them, and they are short. (The
    ratio of two medians of 31 was 0.89 to 0.98 in four runs of one build.)"""
    return 101 if length < 256 * MIB else 31 if length < GIB else 9


def medians(rounds, server=None, before=lambda: None, **runs):
    """Median seconds and mean CPU seconds of each, by turns. (The server's CPU is counted in ticks of 10 ms.) `before`
    comes before each and is not counted."""
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            before()
            times[name].append(timed(run, server))
    return {name: (statistics.median(t[0] for t in all_), statistics.mean(t[1] for t in all_)) for name, all_ in times.items()}


def warm_up(seconds, *runs):
    """A machine that was idle copies slower at first, with us and without."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for run in runs:
            timed(run)


def random_bytes(length, device="cuda"):
    return torch.randint(0, 256, (length,), dtype=torch.uint8, device=device)


def until_straight(client, path, tensor, iomem, length, most=20):
    """Reads until the server's memory is pinned, which the first reads only begin. False: it never was."""
    for _ in range(most):
        before = client.counters()["gpu_straight_read_bytes"]
        client.move(READ, path, tensor, iomem, length)
        if client.counters()["gpu_straight_read_bytes"] - before >= length:
            return True
        time.sleep(0.1)
    return False
