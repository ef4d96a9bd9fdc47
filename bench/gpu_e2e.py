"""GPU memory end to end: whole transfers, scattered pieces, small reads, the order after a stream.

    gpu_e2e.py BUILD_FOLDER

Starts a `gd2fs up` of its own on this machine, writes random files and reads them into GPU memory. Every byte
is compared. Each figure stands beside its baseline, taken by turns in the same run; medians.
"""

import os
import subprocess
import sys
import time

import torch
from gpu_client import BUILD, GIB, MIB, READ, WRITE, Client, Server, Sge, check, medians, random_bytes, rounds_of, row, until_straight, warm_up


def large_reads(client, path_name):
    """Whole transfers into the GPU, beside host memory and a plain pinned copy."""
    for length in (64 * MIB, 256 * MIB, GIB):
        path = b"/large-%d" % length
        gpu, back = random_bytes(length), torch.zeros(length, dtype=torch.uint8, device="cuda")
        host = torch.zeros(length, dtype=torch.uint8)
        pinned = torch.zeros(length, dtype=torch.uint8, pin_memory=True)
        torch.cuda.synchronize()
        gpu_io, back_io, host_io = client.reg(gpu), client.reg(back), client.reg(host)
        client.move(WRITE, path, gpu, gpu_io, length)
        if path_name == "shm":
            check(f"{length // MIB} MiB go straight from the server's memory", until_straight(client, path, back, back_io, length))
        back.zero_()
        torch.cuda.synchronize()
        client.move(READ, path, back, back_io, length)
        check(f"{path_name} {length // MIB} MiB written from the GPU and read into it are equal", torch.equal(gpu, back))
        client.move(READ, path, host, host_io, length)
        check(f"{path_name} {length // MIB} MiB read into host memory are equal", torch.equal(host, gpu.cpu()))
        # Apart from reads into host memory: of the hits right after one some took 0.1 to 0.4 ms longer, all of it in the copy of
        # the last 8 MiB.
        time.sleep(0.5)  # until the threads of torch, which has just compared on the CPU, sleep
        alone = {
            "plain": lambda: (back.copy_(pinned, non_blocking=True), torch.cuda.synchronize()),
            "gpu": lambda: client.move(READ, path, back, back_io, length),
        }
        warm_up(1, *alone.values())
        got = medians(rounds_of(length), **alone)
        got |= medians(
            rounds_of(length),
            host=lambda: client.move(READ, path, host, host_io, length),
            gpu_beside_host=lambda: client.move(READ, path, back, back_io, length),
        )
        row("read_hit", path=path_name, length_mib=length // MIB, gpu_ms=got["gpu"][0] * 1e3, host_ms=got["host"][0] * 1e3, plain_copy_ms=got["plain"][0] * 1e3,
            gpu_gbps=length / got["gpu"][0] / 1e9, host_gbps=length / got["host"][0] / 1e9, plain_gbps=length / got["plain"][0] / 1e9,
            gpu_to_host=got["host"][0] / got["gpu_beside_host"][0], gpu_to_plain=got["plain"][0] / got["gpu"][0], gpu_cpu_s_per_gb=got["gpu"][1] / length * 1e9)  # fmt: skip
        if path_name == "shm" and length < GIB:
            hits_in_a_row(client, path, length, gpu, back, back_io, pinned)
        for iomem in (gpu_io, back_io, host_io):
            client.dereg(iomem)


def hits_in_a_row(client, path, length, gpu, back, back_io, pinned):
    """What a loader sees that reads one file after another: no pause between two hits, or the next one asked for ahead."""
    count = 8

    def ahead():
        sges = (Sge * 1)(Sge(back.data_ptr(), length, back_io))
        for number in range(count):
            if number >= 2:
                client.wait(1)
            client.submit(READ, path, 0, sges)
        client.wait(2)

    def link(wait):
        for _ in range(count):
            back.copy_(pinned, non_blocking=True)
            if wait:
                torch.cuda.synchronize()
        torch.cuda.synchronize()

    got = medians(
        7,
        link_one_by_one=lambda: link(True),
        link=lambda: link(False),
        one_by_one=lambda: [client.move(READ, path, back, back_io, length) for _ in range(count)],
        ahead=ahead,
    )
    check(f"{length // MIB} MiB read again and again are equal", torch.equal(gpu, back))
    row("read_hits_in_a_row", length_mib=length // MIB, one_by_one_ms=got["one_by_one"][0] / count * 1e3, ahead_ms=got["ahead"][0] / count * 1e3,
        one_by_one_to_link=got["link_one_by_one"][0] / got["one_by_one"][0], ahead_to_link=got["link"][0] / got["ahead"][0],
        cpu_s_per_gb=got["ahead"][1] / count / length * 1e9)  # fmt: skip


def large_writes(server, client, path_name, durability, lengths):
    """Whole transfers out of the GPU, beside host memory and a plain pinned copy out of it."""
    for length in lengths:
        path = b"/written-%d" % length
        gpu, host = random_bytes(length), random_bytes(length, "cpu")
        back = torch.zeros(length, dtype=torch.uint8, device="cuda")
        pinned = torch.zeros(length, dtype=torch.uint8, pin_memory=True)
        torch.cuda.synchronize()
        gpu_io, host_io, back_io = client.reg(gpu), client.reg(host), client.reg(back)
        # Until the slab's pages have been touched and the staging memory is pinned.
        for _ in range(3):
            client.move(WRITE, path, gpu, gpu_io, length)
        straight = client.counters()["gpu_straight_write_bytes"]
        client.move(WRITE, path, gpu, gpu_io, length)
        check(f"{length // MIB} MiB go straight from the GPU", client.counters()["gpu_straight_write_bytes"] - straight == length)
        # What was written before is on the drive: its writing back does not count.
        got = medians(
            5 if length >= GIB else 9, server, lambda: client.fsync(path),
            plain=lambda: (pinned.copy_(gpu, non_blocking=True), torch.cuda.synchronize()),
            host=lambda: client.move(WRITE, path, host, host_io, length),
            gpu=lambda: client.move(WRITE, path, gpu, gpu_io, length),
        )  # fmt: skip
        client.move(READ, path, back, back_io, length)
        check(f"{path_name} {length // MIB} MiB written with durability {durability} are those of the GPU", torch.equal(gpu, back))
        row("write", path=path_name, durability=durability, length_mib=length // MIB, gpu_ms=got["gpu"][0] * 1e3, host_ms=got["host"][0] * 1e3,
            plain_copy_ms=got["plain"][0] * 1e3, gpu_gbps=length / got["gpu"][0] / 1e9, plain_gbps=length / got["plain"][0] / 1e9,
            gpu_to_host=got["host"][0] / got["gpu"][0], gpu_to_plain=got["plain"][0] / got["gpu"][0],
            gpu_cpu_s_per_gb=got["gpu"][1] / length * 1e9, host_cpu_s_per_gb=got["host"][1] / length * 1e9)  # fmt: skip
        for iomem in (gpu_io, host_io, back_io):
            client.dereg(iomem)


def scattered(client, path_name, durability="disk", count=10_000, piece=16 << 10, requests=(1, 4)):
    """A KV cache: pieces scattered over the GPU, in one or a few requests."""
    length = count * piece
    pool = torch.zeros(2 * length, dtype=torch.uint8, device="cuda")
    whole = random_bytes(length)
    order = torch.randperm(2 * count)[:count]
    pool_io, whole_io = client.reg(pool), client.reg(whole)
    lists = {}
    for parts in requests:
        each = count // parts
        lists[parts] = []
        for first in range(0, each * parts, each):
            sges = (Sge * each)()
            for i, slot in enumerate(order[first : first + each].tolist()):
                sges[i] = Sge(pool.data_ptr() + slot * piece, piece, pool_io)
            lists[parts].append((first * piece, sges))
    client.move(WRITE, b"/kv", whole, whole_io, length)

    def run(opcode, parts):
        for offset, sges in lists[parts]:
            client.submit(opcode, b"/kv", offset, sges)
        client.wait(parts)

    def pieces():
        return pool.view(-1, piece)[order.cuda()].view(-1)

    if path_name == "shm":
        until_straight(client, b"/kv", whole, whole_io, length)
    for parts in requests:
        pool.zero_()
        torch.cuda.synchronize()
        run(READ, parts)
        check(f"{path_name} {count} pieces of {piece} by {parts} requests are each in their place", torch.equal(pieces(), whole))
        got = medians(rounds_of(length), large=lambda: client.move(READ, b"/kv", whole, whole_io, length), scattered=lambda: run(READ, parts))
        row("kv_read", path=path_name, durability=durability, pieces=count, piece_bytes=piece, requests=parts, scattered_ms=got["scattered"][0] * 1e3,
            large_ms=got["large"][0] * 1e3, gbps=length / got["scattered"][0] / 1e9, ratio=got["large"][0] / got["scattered"][0])  # fmt: skip
    for parts in requests:
        pool.copy_(torch.randint_like(pool, 256))
        torch.cuda.synchronize()
        client.move(WRITE, b"/kv-large", whole, whole_io, length)
        got = medians(
            7, None, lambda: (client.fsync(b"/kv"), client.fsync(b"/kv-large")),
            large=lambda: client.move(WRITE, b"/kv-large", whole, whole_io, length), scattered=lambda: run(WRITE, parts),
        )  # fmt: skip
        row("kv_write", path=path_name, durability=durability, pieces=count, piece_bytes=piece, requests=parts, scattered_ms=got["scattered"][0] * 1e3,
            large_ms=got["large"][0] * 1e3, gbps=length / got["scattered"][0] / 1e9, ratio=got["large"][0] / got["scattered"][0])  # fmt: skip
        client.move(READ, b"/kv", whole, whole_io, length)
        check(f"{path_name} {count} pieces written by {parts} requests are the pieces", torch.equal(pieces(), whole))
    client.dereg(pool_io)
    client.dereg(whole_io)


def small(client, path_name):
    gpu = random_bytes(MIB)
    host = torch.zeros(MIB, dtype=torch.uint8)
    gpu_io, host_io = client.reg(gpu), client.reg(host)
    client.move(WRITE, b"/small", gpu, gpu_io, MIB)
    expected = gpu.clone()
    if path_name == "shm":
        until_straight(client, b"/small", gpu, gpu_io, MIB)
    for length in (4096, 65536):
        times = {"gpu": [], "host": []}
        gpu.zero_()
        torch.cuda.synchronize()
        client.move(READ, b"/small", gpu, gpu_io, length)
        check(f"{path_name} {length} bytes are those of the file", torch.equal(gpu[:length], expected[:length]) and not gpu[length:].any())
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


def main():
    torch.cuda.init()
    torch.zeros(1, device="cuda")
    row("software", torch=torch.__version__, cuda=torch.version.cuda, gpu=torch.cuda.get_device_name(0), allocator=os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "default"))
    server = Server("12GiB")
    try:
        client = Client(server, "?shm=off")
        stream_order(client)
        small(client, "tcp")
        scattered(client, "tcp")
        large_reads(client, "tcp")
        client.close()
        client = Client(server)
        small(client, "shm")
        scattered(client, "shm")
        large_reads(client, "shm")
        large_writes(server, client, "shm", "disk", (GIB,))
        row("paths", cluster="bench", **client.counters())
        client.close()
        client = Client(server, cluster="memory")
        scattered(client, "shm", "memory")
        large_writes(server, client, "shm", "memory", (64 * MIB, 256 * MIB, GIB))
        row("paths", cluster="memory", **client.counters())
        client.close()
        expandable = subprocess.run(
            [sys.executable, __file__, str(BUILD), "expandable", server.address, server.folder],
            env=dict(os.environ, PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True"), capture_output=True, text=True,
        )  # fmt: skip
        print(expandable.stdout + expandable.stderr[-2000:], flush=True)
        check("a process with expandable segments", expandable.returncode == 0)
    finally:
        server.stop()


if len(sys.argv) > 2:
    folder = sys.argv[4]
    running = type("Running", (), {"address": sys.argv[3], "token_file": lambda self, cluster: f"{folder}/.config/gd2fs/tokens/{cluster}"})()
    one = Client(running)
    scattered(one, "shm, expandable segments", count=2000, requests=(1,))
    one.close()
else:
    main()
