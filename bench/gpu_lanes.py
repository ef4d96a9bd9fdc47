"""Hits over TCP on loopback by number of lanes, into host memory and into a GPU, beside raw sockets with as many.

    gpu_lanes.py BUILD_FOLDER [LANES...]
"""

import json
import os
import subprocess
import sys
import tempfile

from gpu_client import BUILD, check, row

LANES = [int(word) for word in sys.argv[2:]] or [1, 2, 4, 8, 16]


def main():
    environment = dict(os.environ, LD_LIBRARY_PATH=str(BUILD / "lib"))
    best = {}
    for device in ("cpu", "cuda:0"):
        for lanes in LANES:
            with tempfile.TemporaryDirectory(prefix="gd2fs-lanes-", dir=os.environ.get("GD2FS_BENCH_DIR")) as folder:
                done = subprocess.run(
                    [BUILD / "bin" / "gd2fs", "bench", "--dir", folder, "--path", "tcp", "--rows", "hit", "--lanes", str(lanes), "--device", device, "--json"],
                    env=environment, capture_output=True, text=True,
                )  # fmt: skip
            if done.returncode != 0:
                check(f"bench over {lanes} lanes, {device}: {done.stderr[-500:]}", False)
                continue
            for one in json.loads(done.stdout):
                if one["op"] != "read":
                    continue
                kept = {key: one[key] for key in ("size_bytes", "gb_per_s", "baseline_gb_per_s", "ratio", "cpu_s_per_gb")}
                row("lanes", device=device, lanes=lanes, **kept)
                key = (device, one["size_bytes"])
                best[key] = max(best.get(key, (0, 0)), (one["gb_per_s"], lanes))
    for (device, size), (rate, lanes) in best.items():
        row("lanes_best", device=device, size_bytes=size, lanes=lanes, gb_per_s=rate)


main()
