"""Connects, registers GPU memory, reads and closes, a thousand times over both paths: what stays behind?

    gpu_leaks.py BUILD_FOLDER [CYCLES]
"""

import os
import pathlib
import sys
import time

import torch
from gpu_client import MIB, READ, WRITE, Client, Server, check, random_bytes, row, until_straight

CYCLES = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
LENGTH = 4 * MIB


def counts(server):
    torch.cuda.synchronize()

    def of(pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        fields = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
        return int(fields["RssAnon"]) * 1024, len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"])

    resident, fds, threads = of("self")
    server_resident, server_fds, _ = of(server.process.pid)
    maps = len(pathlib.Path("/proc/self/maps").read_text().splitlines())
    return {
        "vram": -torch.cuda.mem_get_info()[0], "resident": resident, "fds": fds, "threads": threads, "maps": maps,
        "server_resident": server_resident, "server_fds": server_fds,
    }  # fmt: skip


def main():
    torch.cuda.init()
    data, back = random_bytes(LENGTH), torch.zeros(LENGTH, dtype=torch.uint8, device="cuda")
    server = Server("2GiB")
    try:
        first = Client(server)
        iomem = first.reg(data)
        first.move(WRITE, b"/leaks", data, iomem, LENGTH)
        until_straight(first, b"/leaks", data, iomem, LENGTH)
        first.close()
        def cycle(query, check_bytes):
            client = Client(server, query)
            iomem = client.reg(back)
            client.move(READ, b"/leaks", back, iomem, LENGTH)
            if check_bytes:
                check(f"{query or 'shm'}: the bytes are right", torch.equal(data, back))
                back.zero_()
            client.close()

        # What is kept on purpose has settled after some over each path: the pinned ring, which straight reads take too while the
        # server's memory is not registered yet, the context's streams, the arenas of malloc, the kernels of torch that compare.
        for number in range(400):
            cycle(("", "?shm=off")[number % 2], number > 397)
        for query in ("", "?shm=off"):
            before = counts(server)
            began = time.perf_counter()
            for number in range(CYCLES):
                cycle(query, number % 100 == 99)
            seconds = time.perf_counter() - began
            # A session that ended is forgotten by the server within a second.
            time.sleep(2)
            grown = {name: after - before[name] for name, after in counts(server).items()}
            row("leaks", path="tcp" if query else "shm", cycles=CYCLES, ms_per_cycle=seconds / CYCLES * 1e3, **grown)
            what = f"{CYCLES} cycles of connect, read, close over {'tcp' if query else 'shm'} leave"
            check(f"{what} no VRAM behind ({grown['vram']} bytes)", grown["vram"] <= 0)
            check(f"{what} no descriptor behind ({grown['fds']}, the server {grown['server_fds']})", grown["fds"] <= 0 and grown["server_fds"] <= 8)
            check(f"{what} no thread and no mapping behind ({grown['threads']}, {grown['maps']})", grown["threads"] <= 0 and grown["maps"] <= 8)
            # 1 KiB a cycle would be a leak; a MiB in all is how malloc scatters. The server opens files of its drive.
            check(f"{what} no memory behind ({grown['resident']} bytes, the server {grown['server_resident']})",
                  max(grown["resident"], grown["server_resident"]) < max(CYCLES << 10, MIB))  # fmt: skip
    finally:
        server.stop()


main()
