"""Over TCP on loopback, by number of lanes asked for (the library may open more): hits beside raw sockets with as many,
writes (durability memory) beside the same, hits into a GPU beside hits into host memory.

    gpu_lanes.py BUILD_FOLDER [LANES...]
"""

import json
import os
import subprocess
import sys
import tempfile

import torch

from gpu_client import BUILD, GIB, MIB, READ, WRITE, Client, Server, check, medians, rounds_of, row

LANES = [int(word) for word in sys.argv[2:]] or [1, 2, 4, 8, 16]


def beside_each_other(raw):
    """Writes out of host memory, and hits into host memory and into a GPU by turns. raw: GB/s of raw sockets by (size, lanes)."""
    server = Server("8GiB")
    host = torch.randint(0, 256, (GIB,), dtype=torch.uint8)
    gpu = torch.zeros(GIB, dtype=torch.uint8, device="cuda")
    for lanes in LANES:
        client = Client(server, "?shm=off", cluster="memory", streams=lanes)
        of_host, of_gpu = client.reg(host), client.reg(gpu)
        for size in (64 * MIB, 256 * MIB, GIB):
            path = f"/lanes-{size}".encode()

            def settle():
                client.fsync(path)

            def move(opcode, tensor, iomem):
                return lambda: client.move(opcode, path, tensor, iomem, size)

            move(WRITE, host, of_host)()
            wanted = host[:size].clone()
            seconds, cpu = medians(7, server, before=settle, write=move(WRITE, host, of_host))["write"]
            rate = size / seconds / 1e9
            beside = raw.get((size, lanes))
            row("lanes_write", lanes=lanes, size_bytes=size, gb_per_s=rate, baseline_gb_per_s=beside, ratio=beside and rate / beside, cpu_s_per_gb=cpu / size * 1e9)
            move(READ, gpu, of_gpu)()
            times = medians(rounds_of(size), server, to_gpu=move(READ, gpu, of_gpu), to_host=move(READ, host, of_host))
            rates = {name: size / seconds / 1e9 for name, (seconds, _) in times.items()}
            row("lanes_gpu", lanes=lanes, size_bytes=size, gpu_gbps=rates["to_gpu"], host_gbps=rates["to_host"], gpu_to_host=rates["to_gpu"] / rates["to_host"],
                gpu_cpu_s_per_gb=times["to_gpu"][1] / size * 1e9)  # fmt: skip
            check(f"bytes, {size}, {lanes} lanes", torch.equal(gpu[:size].cpu(), wanted) and torch.equal(host[:size], wanted))
        client.dereg(of_host)
        client.dereg(of_gpu)
        client.close()
    server.stop()


def main():
    environment = dict(os.environ, LD_LIBRARY_PATH=str(BUILD / "lib"))
    best, raw = {}, {}
    for lanes in LANES:
        with tempfile.TemporaryDirectory(prefix="gd2fs-lanes-", dir=os.environ.get("GD2FS_BENCH_DIR")) as folder:
            done = subprocess.run(
                [BUILD / "bin" / "gd2fs", "bench", "--dir", folder, "--path", "tcp", "--rows", "hit", "--lanes", str(lanes), "--json"],
                env=environment, capture_output=True, text=True,
            )  # fmt: skip
        if done.returncode != 0:
            check(f"bench over {lanes} lanes: {done.stderr[-500:]}", False)
            continue
        for one in json.loads(done.stdout):
            if one["op"] != "read":
                continue
            size = one["size_bytes"]
            kept = {key: one[key] for key in ("size_bytes", "gb_per_s", "baseline_gb_per_s", "ratio", "cpu_s_per_gb")}
            row("lanes", lanes=lanes, **kept)
            raw[size, lanes] = one["baseline_gb_per_s"]
            best[size] = max(best.get(size, (0, 0)), (one["gb_per_s"], lanes))
    for size, (rate, lanes) in best.items():
        row("lanes_best", size_bytes=size, lanes=lanes, gb_per_s=rate)
    beside_each_other(raw)


main()
