"""Eight processes on one GPU and two clusters of one server, stopped and killed in the middle of their copies.

    gpu_stress.py BUILD_FOLDER [SECONDS]

Each process writes files of its own from GPU memory and reads them, and files of its neighbours, back into GPU
memory, whole and in scattered pieces. A file's bytes follow from its name and version, so every byte read is
checked on the GPU, and a chunk may hold one version only. Meanwhile the parent stops processes for up to three seconds (longer than a grant's lease) and
kills some, of which new ones take the place. Afterwards the server must still serve, and hold no more than before.
"""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import zlib

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] != "worker" else 60
PROCESSES, FILES = 8, 4
CHUNK, LENGTH = 4 << 20, 24 << 20
WORDS = (64 << 10) // 8  # of a block, whose first word is the version


def worker(address, folder, cluster, number):
    import torch
    from gpu_client import READ, WRITE, Client, Sge

    running = type("Running", (), {"address": address, "token_file": lambda self, name: f"{folder}/.config/gd2fs/tokens/{name}"})()
    client = Client(running, cluster=cluster)
    pool = torch.empty(LENGTH + (4 << 20), dtype=torch.uint8, device="cuda")
    canary = torch.full((1 << 20,), 0x5C, dtype=torch.uint8, device="cuda")
    iomem = client.reg(pool)
    choose = random.Random(os.getpid())

    def wrong(what):
        print("FAIL", what, flush=True)
        os._exit(3)

    def bytes_of(path, version):
        generator = torch.Generator("cuda").manual_seed(zlib.crc32(path) ^ version)
        words = torch.randint(0, 1 << 62, (LENGTH // 8,), dtype=torch.int64, device="cuda", generator=generator)
        words[::WORDS] = version
        return words.view(torch.uint8)

    def look_at(path, got):
        versions = got.view(torch.int64)[::WORDS].view(LENGTH // CHUNK, -1)
        if not bool((versions == versions[:, :1]).all()):
            wrong(f"{path}: a chunk is a mixture of versions: {versions.tolist()}")
        chunks = got.view(-1, CHUNK)
        for version in versions[:, 0].unique().tolist():
            here = versions[:, 0] == version
            if version != 0 and not torch.equal(chunks[here], bytes_of(path, version).view(-1, CHUNK)[here]):
                wrong(f"{path}: bytes that are not of version {version}")

    slots = torch.randperm(LENGTH // 16384)
    scattered = (Sge * len(slots))()
    for i, slot in enumerate(slots.tolist()):
        scattered[i] = Sge(pool.data_ptr() + slot * 16384, 16384, iomem)
    slots = slots.cuda()
    whole = (Sge * 1)(Sge(pool.data_ptr() + 48, LENGTH, iomem))
    print("ready", flush=True)
    version = int(time.time() * 1000) << 8
    done = failed = 0
    while True:
        writes = done < FILES or choose.random() < 0.4
        owner = number if writes else choose.randrange(PROCESSES // 2)
        path = b"/%d-%d" % (owner, choose.randrange(FILES))
        in_pieces = choose.random() < 0.5
        sges = scattered if in_pieces else whole
        pool.zero_()
        if writes:
            version += 1
            source = bytes_of(path, version)
            if in_pieces:
                pool[:LENGTH].view(-1, 16384)[slots] = source.view(-1, 16384)
            else:
                pool[48 : 48 + LENGTH] = source
        torch.cuda.synchronize()
        client.submit(WRITE if writes else READ, path, 0, sges)
        moved = client.wait(1, may_fail=True)
        if moved < 0 or (moved < LENGTH and not writes):
            failed += 1  # a file that is not there yet, or not whole; a server that waited too long for us
        elif moved != LENGTH:
            wrong(f"{path}: {moved} bytes")
        elif not writes:
            got = pool[:LENGTH].view(-1, 16384)[slots].reshape(-1) if in_pieces else pool[48 : 48 + LENGTH].clone()
            look_at(path, got)
            if not in_pieces and bool(pool[:48].any() or pool[48 + LENGTH :].any()):
                wrong("bytes outside of the request")
        if not bool((canary == 0x5C).all()):
            wrong("a canary was overwritten")
        done += 1
        if done % 10 == 0:
            print(f"done {done} failed {failed} straight {client.counters()['gpu_straight_read_bytes']}", flush=True)


def main():
    from gpu_client import BUILD, Client, Server, check, row

    server = Server("8GiB")
    processes = {}
    output = {}
    totals = {"started": 0, "stopped": 0, "killed": 0, "rounds": 0, "failed": 0}
    choose = random.Random(5)

    def start(number):
        cluster = ("bench", "memory")[number % 2]
        log = open(f"{server.folder}/worker-{number}-{totals['started']}", "w+")
        processes[number] = subprocess.Popen(
            [sys.executable, __file__, str(BUILD), "worker", server.address, server.folder, cluster, str(number // 2)], stdout=log, stderr=log,
        )  # fmt: skip
        output.setdefault(number, []).append(log.name)
        totals["started"] += 1

    try:
        fds_before = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        for number in range(PROCESSES):
            start(number)
        end = time.monotonic() + 60
        while time.monotonic() < end and not all("ready" in pathlib.Path(output[n][-1]).read_text() for n in processes):
            time.sleep(0.2)
        end = time.monotonic() + SECONDS
        stopped = {}
        while time.monotonic() < end:
            time.sleep(choose.uniform(0.05, 0.4))
            for number, until in list(stopped.items()):
                if time.monotonic() >= until:
                    processes[number].send_signal(signal.SIGCONT)
                    del stopped[number]
            number = choose.randrange(PROCESSES)
            if number in stopped:
                continue
            if choose.random() < 0.2:
                processes[number].kill()
                processes[number].wait()
                totals["killed"] += 1
                start(number)
            else:
                processes[number].send_signal(signal.SIGSTOP)
                totals["stopped"] += 1
                stopped[number] = time.monotonic() + choose.choice((0.05, 0.3, 1.2, 3.0))
        for number in stopped:
            processes[number].send_signal(signal.SIGCONT)
        time.sleep(5)  # all of them go on
        alive = {number: process.poll() for number, process in processes.items()}
        for process in processes.values():
            process.kill()
            process.wait()
        straight = 0
        for names in output.values():
            for name in names:
                text = pathlib.Path(name).read_text(errors="replace")
                lines = [line.split() for line in text.splitlines() if line.startswith("done ")]
                totals["rounds"] += int(lines[-1][1]) if lines else 0
                totals["failed"] += int(lines[-1][3]) if lines else 0
                straight += int(lines[-1][5]) if lines else 0
                if "FAIL" in text or "Traceback" in text:
                    print(text[-2000:], flush=True)
                    check(f"{name}: no wrong bytes", False)
        check("all processes that were not killed live and go on", all(code is None for code in alive.values()))
        check("some reads went straight to the GPU", straight > 0)
        time.sleep(3)
        for cluster in ("bench", "memory"):
            client = Client(server, cluster=cluster)
            client.close()
        check("the server lives and takes new clients", server.process.poll() is None)
        fds = len(os.listdir(f"/proc/{server.process.pid}/fd")) - fds_before
        row("stress", processes=PROCESSES, clusters=2, seconds=SECONDS, straight_read_gb=straight / 1e9, server_fds=fds, **totals)
        check(f"the server holds no more descriptors than arenas and drives need ({fds} more)", fds < 64)
    finally:
        server.stop()


if len(sys.argv) > 2 and sys.argv[2] == "worker":
    worker(sys.argv[3], sys.argv[4], sys.argv[5], int(sys.argv[6]))
else:
    main()
