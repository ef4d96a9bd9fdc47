"""All GPUs of this host at once, one process each, out of the same slab, beside the sum of what their links carry.

    gpu_two.py BUILD_FOLDER
"""

import os
import subprocess
import sys
import time
from statistics import median

LENGTH, ROUNDS = 1 << 30, 12
PAIRS = 3  # of a plain copy's rounds and a read's, by turns; one pair more comes first and is dropped, while the links and clocks wake up


def worker(device, address, folder, go):
    """Says when its rounds began and ended: of plain pinned copies and of reads by turns, each while the others do the same."""
    import torch
    from gpu_client import READ, Client, until_straight

    torch.cuda.set_device(device)
    running = type("Running", (), {"address": address, "token_file": lambda self, name: f"{folder}/.config/gd2fs/tokens/{name}"})()
    target = torch.zeros(LENGTH, dtype=torch.uint8, device="cuda")
    pinned = torch.zeros(LENGTH, dtype=torch.uint8, pin_memory=True)
    client = Client(running)
    iomem = client.reg(target)
    straight = until_straight(client, b"/both", target, iomem, LENGTH)

    def meet(number):
        """Waits until all are here. They look without a pause: a sleep would be longer than what is measured."""
        open(f"{go}-{number}-{device}", "w").close()
        while not os.path.exists(f"{go}-{number}"):
            pass

    print(f"sum {int(target.view(torch.int64).sum())} {straight}", flush=True)
    ways = (
        lambda: (target.copy_(pinned, non_blocking=True), torch.cuda.synchronize()),
        lambda: client.move(READ, b"/both", target, iomem, LENGTH),
    )
    for number in range(2 * (PAIRS + 1)):
        target.zero_()
        torch.cuda.synchronize()
        meet(number)
        began = time.monotonic()
        for _ in range(ROUNDS):
            ways[number % 2]()
        print(f"took {began} {time.monotonic()}", flush=True)
    print(f"sum {int(target.view(torch.int64).sum())} {straight}", flush=True)
    client.close()


def main():
    import torch
    from gpu_client import BUILD, WRITE, Client, Server, check, random_bytes, row

    devices = list(range(torch.cuda.device_count()))
    if len(devices) < 2:
        print(f"NOTE {len(devices)} GPU here: two are needed")
        return
    server = Server("8GiB")
    try:
        client = Client(server)
        data = random_bytes(LENGTH, "cpu")
        client.move(WRITE, b"/both", data, client.reg(data), LENGTH)
        client.close()
        expected = int(data.view(torch.int64).sum())
        for used in (devices[:1], devices[:2], devices) if len(devices) > 2 else (devices[:1], devices):
            go = f"{server.folder}/go-{len(used)}"
            running = [
                subprocess.Popen([sys.executable, __file__, str(BUILD), str(device), server.address, server.folder, go], stdout=subprocess.PIPE, text=True)
                for device in used
            ]
            for number in range(2 * (PAIRS + 1)):
                while not all(os.path.exists(f"{go}-{number}-{device}") for device in used):
                    if any(process.poll() not in (None, 0) for process in running):
                        sys.exit("FAIL a process ended")
                    time.sleep(0.01)
                open(f"{go}-{number}", "w").close()
            said = [process.communicate()[0].split("\n") for process in running]
            sums = [line.split()[1:] for text in said for line in text if line.startswith("sum ")]
            check(f"{len(used)} GPUs have the file's bytes, straight from the slab", all(one == [str(expected), "True"] for one in sums))
            times = [[[float(x) for x in line.split()[1:]] for line in text if line.startswith("took ")] for text in said]
            rates = []
            for number in range(2 * (PAIRS + 1)):
                began, ended = min(t[number][0] for t in times), max(t[number][1] for t in times)
                rates.append(len(used) * ROUNDS * LENGTH / (ended - began) / 1e9)
            links, reads = median(rates[2::2]), median(rates[3::2])
            row("gpus_at_once", gpus=len(used), links_gbps=links, gd2fs_gbps=reads, ratio=reads / links, lowest_pair=min(r / l for l, r in zip(rates[2::2], rates[3::2])))
    finally:
        server.stop()


if len(sys.argv) > 2:
    worker(int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5])
else:
    main()
