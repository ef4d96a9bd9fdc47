"""GPU memory end to end, over the C interface alone (ctypes), so that any Python with torch will do.

    gpu_e2e.py BUILD_FOLDER

Starts a `gd2fs up` of its own on this machine, writes random files and reads them into GPU memory. Every byte
is compared. Each figure stands beside its baseline, taken by turns in the same run; medians.
"""

import ctypes
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import torch

BUILD = pathlib.Path(sys.argv[1]).resolve()
MIB, GIB = 1 << 20, 1 << 30


class Op(ctypes.Structure):
    _fields_ = [
        ("opcode", ctypes.c_uint16), ("flags", ctypes.c_uint16), ("nsge", ctypes.c_uint16), ("reserved0", ctypes.c_uint16),
        ("id", ctypes.c_void_p), ("filepath", ctypes.c_char_p), ("other", ctypes.c_char_p), ("off", ctypes.c_uint64),
        ("size", ctypes.c_uint64), ("sges", ctypes.c_void_p), ("stat", ctypes.c_void_p), ("entries", ctypes.c_void_p),
        ("nentries", ctypes.c_uint32), ("reserved1", ctypes.c_uint32), ("request", ctypes.c_void_p),
        ("attr", ctypes.c_void_p), ("gpu_stream", ctypes.c_uint64), ("reserved", ctypes.c_uint64 * 14),
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


try:
    lib = ctypes.CDLL(str(BUILD / "lib" / "libgd2fs.so.1"))
except OSError:  # no OpenSSL 3 here: take the packed one
    ctypes.CDLL(str(BUILD / "lib" / "libcrypto.so.3"), ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(str(BUILD / "lib" / "libgd2fs.so.1"))
for name, result in (("connect", ctypes.c_void_p), ("reg_iomem", ctypes.c_void_p), ("submit", ctypes.c_ssize_t), ("last_error", ctypes.c_char_p)):
    getattr(lib, "xfer_gd2fs_" + name).restype = result
READ, WRITE = 1, 2


def row(kind, **values):
    print(json.dumps({"row": kind, **values}), flush=True)


def check(what, holds):
    print(("PASS " if holds else "FAIL ") + what, flush=True)


def why():
    return lib.xfer_gd2fs_last_error().decode()


class Server:
    def __init__(self, slab):
        self.folder = tempfile.mkdtemp(prefix="gd2fs-gpu-", dir=os.environ.get("GD2FS_BENCH_DIR"))
        self.process = subprocess.Popen(
            [BUILD / "bin" / "gd2fs", "up", "--data", self.folder + "/data", "--listen", "127.0.0.1:0", "--cluster", "bench", "--slab", slab],
            stdout=subprocess.PIPE, stderr=open(self.folder + "/log", "wb"), env=dict(os.environ, HOME=self.folder, LD_LIBRARY_PATH=str(BUILD / "lib")),  # not for Python itself
        )  # fmt: skip
        line = self.process.stdout.readline().decode()
        if not line.startswith("ready "):
            sys.exit(f"FAIL gd2fs up: {line!r} {open(self.folder + '/log').read()[-3000:]}")
        self.address = line.split()[1]
        os.environ["GD2FS_TOKEN_FILE"] = self.folder + "/data/tokens/bench"

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


class Client:
    def __init__(self, server, shm=True):
        query = "" if shm else "?shm=off"
        options = Options(cp_address=(server.address.split("?")[0] + query).encode(), dp_address=b"tcp://127.0.0.1", cluster_id=b"bench", log_level=b"warn")
        self.ctx = ctypes.c_void_p(lib.xfer_gd2fs_connect(ctypes.byref(options)))
        if not self.ctx:
            sys.exit(f"FAIL connect: {why()}")

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
        op = Op(opcode=opcode, nsge=len(sges), filepath=path, off=offset, sges=ctypes.addressof(sges), gpu_stream=stream)
        taken = lib.xfer_gd2fs_submit(self.ctx, None, ctypes.byref(op))
        if taken < 0:
            sys.exit(f"FAIL submit: {taken} {why()}")

    def wait(self, count):
        done = (Completion * 64)()
        total = 0
        while count:
            got = lib.xfer_gd2fs_wait(self.ctx, done, 64, -1)
            for one in done[:got]:
                if one.status:
                    sys.exit(f"FAIL a request ended with status {one.status:#x}")
                total += one.value
            count -= got
        return total

    def move(self, opcode, path, tensor, iomem, length, offset=0, depth=1, stream=0):
        """One request, or `depth` equal ones."""
        part = length // depth
        for i in range(depth):
            self.submit(opcode, path, offset + i * part, (Sge * 1)(Sge(tensor.data_ptr() + i * part, part, iomem)), stream)
        return self.wait(depth)


def timed(run):
    torch.cuda.synchronize()
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    run()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    return seconds, after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime


def medians(rounds, **runs):
    """Seconds and CPU seconds of each, by turns."""
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(timed(run))
    return {name: (statistics.median(t[0] for t in all_), statistics.median(t[1] for t in all_)) for name, all_ in times.items()}


def large(client, path_name):
    """Whole transfers, GPU beside host memory beside a plain pinned copy."""
    for length in (64 * MIB, 256 * MIB, GIB):
        path = b"/large-%d" % length
        gpu = torch.randint(0, 256, (length,), dtype=torch.uint8, device="cuda")
        back = torch.zeros(length, dtype=torch.uint8, device="cuda")
        host = torch.zeros(length, dtype=torch.uint8)
        pinned = torch.zeros(length, dtype=torch.uint8, pin_memory=True)
        torch.cuda.synchronize()
        gpu_io, back_io, host_io = client.reg(gpu), client.reg(back), client.reg(host)
        client.move(WRITE, path, gpu, gpu_io, length)
        client.move(READ, path, back, back_io, length)
        check(f"{path_name} {length // MIB} MiB written from the GPU and read into it are equal", torch.equal(gpu, back))
        client.move(READ, path, host, host_io, length)
        check(f"{path_name} {length // MIB} MiB read into host memory are equal", torch.equal(host, gpu.cpu()))
        got = medians(
            7,
            plain=lambda: (back.copy_(pinned, non_blocking=True), torch.cuda.synchronize()),
            host=lambda: client.move(READ, path, host, host_io, length),
            gpu=lambda: client.move(READ, path, back, back_io, length),
        )
        row("read_hit", path=path_name, length_mib=length // MIB, gpu_ms=got["gpu"][0] * 1e3, host_ms=got["host"][0] * 1e3, plain_copy_ms=got["plain"][0] * 1e3,
            gpu_gbps=length / got["gpu"][0] / 1e9, host_gbps=length / got["host"][0] / 1e9, plain_gbps=length / got["plain"][0] / 1e9,
            gpu_to_host=got["host"][0] / got["gpu"][0], gpu_to_plain=got["plain"][0] / got["gpu"][0], gpu_cpu_s_per_gb=got["gpu"][1] / length * 1e9)  # fmt: skip
        got = medians(
            3,
            host=lambda: client.move(WRITE, path, host, host_io, length),
            gpu=lambda: client.move(WRITE, path, gpu, gpu_io, length),
        )
        row("write", path=path_name, length_mib=length // MIB, gpu_ms=got["gpu"][0] * 1e3, host_ms=got["host"][0] * 1e3,
            gpu_gbps=length / got["gpu"][0] / 1e9, gpu_to_host=got["host"][0] / got["gpu"][0], gpu_cpu_s_per_gb=got["gpu"][1] / length * 1e9)  # fmt: skip
        for iomem in (gpu_io, back_io, host_io):
            client.dereg(iomem)


def scattered(client, path_name, count=10_000, piece=16 << 10):
    """A KV cache: pieces scattered over the GPU, one request."""
    length = count * piece
    pool = torch.zeros(2 * length, dtype=torch.uint8, device="cuda")
    whole = torch.randint(0, 256, (length,), dtype=torch.uint8, device="cuda")
    order = torch.randperm(2 * count)[:count]
    sges = (Sge * count)()
    pool_io, whole_io = client.reg(pool), client.reg(whole)
    for i, slot in enumerate(order.tolist()):
        sges[i] = Sge(pool.data_ptr() + slot * piece, piece, pool_io)
    client.move(WRITE, b"/kv", whole, whole_io, length)

    def one(opcode):
        client.submit(opcode, b"/kv", 0, sges)
        client.wait(1)

    one(READ)
    check(f"{path_name} {count} pieces of {piece} are each in their place", torch.equal(pool.view(-1, piece)[order.cuda()].view(-1), whole))
    got = medians(9, large=lambda: client.move(READ, b"/kv", whole, whole_io, length), scattered=lambda: one(READ))
    row("kv_read", path=path_name, pieces=count, piece_bytes=piece, scattered_ms=got["scattered"][0] * 1e3, large_ms=got["large"][0] * 1e3,
        gbps=length / got["scattered"][0] / 1e9, ratio=got["large"][0] / got["scattered"][0])  # fmt: skip
    got = medians(3, large=lambda: client.move(WRITE, b"/kv", whole, whole_io, length), scattered=lambda: one(WRITE))
    row("kv_write", path=path_name, pieces=count, piece_bytes=piece, scattered_ms=got["scattered"][0] * 1e3, large_ms=got["large"][0] * 1e3,
        gbps=length / got["scattered"][0] / 1e9, ratio=got["large"][0] / got["scattered"][0])  # fmt: skip
    client.move(READ, b"/kv", whole, whole_io, length)
    check(f"{path_name} the pieces written are the pieces", torch.equal(pool.view(-1, piece)[order.cuda()].view(-1), whole))
    client.dereg(pool_io)
    client.dereg(whole_io)


def small(client, path_name):
    gpu = torch.zeros(MIB, dtype=torch.uint8, device="cuda")
    host = torch.zeros(MIB, dtype=torch.uint8)
    gpu_io, host_io = client.reg(gpu), client.reg(host)
    client.move(WRITE, b"/small", gpu, gpu_io, MIB)
    for length in (4096, 65536):
        times = {"gpu": [], "host": []}
        for _ in range(3000):
            for name, tensor, iomem in (("gpu", gpu, gpu_io), ("host", host, host_io)):
                began = time.perf_counter()
                client.move(READ, b"/small", tensor, iomem, length)
                times[name].append((time.perf_counter() - began) * 1e6)
        gpu_us, host_us = sorted(times["gpu"]), sorted(times["host"])
        row("small_read", path=path_name, length_bytes=length, gpu_p50_us=gpu_us[1500], gpu_p99_us=gpu_us[2970], host_p50_us=host_us[1500], host_p99_us=host_us[2970])
    client.dereg(gpu_io)
    client.dereg(host_io)


def stream_order(client):
    """A write from memory that a queued kernel still fills, and a read into memory that one still reads."""
    length = 64 * MIB
    tensor = torch.zeros(length, dtype=torch.uint8, device="cuda")
    iomem = client.reg(tensor)
    good = True
    for value in range(1, 9):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)
            tensor.fill_(value)
        client.move(WRITE, b"/stream", tensor, iomem, length, stream=stream.cuda_stream)
        with torch.cuda.stream(stream):
            tensor.fill_(0)
        client.move(READ, b"/stream", tensor, iomem, length, stream=stream.cuda_stream)
        good = good and bool((tensor == value).all())
    check("a stream that is named comes first", good)
    client.dereg(iomem)


def leaks(server, cycles):
    def counts():
        torch.cuda.synchronize()
        status = pathlib.Path("/proc/self/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) * 1024
        return torch.cuda.mem_get_info()[0], resident, len(os.listdir("/proc/self/fd"))

    tensor = torch.zeros(MIB, dtype=torch.uint8, device="cuda")

    def cycle():
        client = Client(server)
        iomem = client.reg(tensor)
        client.move(READ, b"/small", tensor, iomem, MIB)
        client.close()

    for _ in range(20):
        cycle()
    before = counts()
    began = time.perf_counter()
    for _ in range(cycles):
        cycle()
    seconds = time.perf_counter() - began
    after = counts()
    row("leaks", cycles=cycles, seconds=seconds, vram_bytes=before[0] - after[0], resident_bytes=after[1] - before[1], fds=after[2] - before[2])
    check("connect, read, close leaves no VRAM and no descriptor behind", before[0] - after[0] <= 0 and after[2] == before[2])


def main():
    torch.cuda.init()
    torch.zeros(1, device="cuda")
    row("software", torch=torch.__version__, cuda=torch.version.cuda, gpu=torch.cuda.get_device_name(0), allocator=os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "default"))
    server = Server("8GiB")
    try:
        free = torch.cuda.mem_get_info()[0]
        client = Client(server, shm=False)
        tiny = torch.zeros(1, dtype=torch.uint8, device="cuda")
        client.reg(tiny)
        row("vram", bytes_of_a_client=free - torch.cuda.mem_get_info()[0])
        stream_order(client)
        small(client, "tcp")
        scattered(client, "tcp")
        large(client, "tcp")
        client.close()
        client = Client(server, shm=True)
        small(client, "shm")
        scattered(client, "shm")
        large(client, "shm")
        client.close()
        leaks(server, 200)
        expandable = subprocess.run(
            [sys.executable, __file__, str(BUILD), "expandable", server.address],
            env=dict(os.environ, PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True"), capture_output=True, text=True,
        )  # fmt: skip
        print(expandable.stdout + expandable.stderr[-2000:], flush=True)
        check("a process with expandable segments", expandable.returncode == 0)
    finally:
        server.stop()


if __name__ != "__main__":
    pass  # gpu_python.py borrows from here
elif len(sys.argv) > 2:
    running = type("Running", (), {"address": sys.argv[3]})
    one = Client(running)
    scattered(one, "expandable segments", 2000)
    one.close()
else:
    main()
