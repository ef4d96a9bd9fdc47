"""gd2fs bench, the whole of it in small: every row, and none of them with a wrong byte."""
import json
import os
import subprocess
import time

import pytest

from deployment import GD2FS

KEYS = {
    "path", "op", "state", "size_bytes", "depth", "count", "avg_us", "p50_us", "p99_us", "gb_per_s", "baseline_gb_per_s", "ratio", "cpu_s_per_gb",
}  # fmt: skip
LARGE = 64 << 20


@pytest.mark.parametrize("path", ["shm", "tcp"])
def test_a_quick_run_has_all_rows_and_leaves_nothing(path, place):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GD2FS_")}
    done = subprocess.run([GD2FS, "bench", "--quick", "--json", "--path", path, "--dir", str(place)],
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    rows = json.loads(done.stdout)
    assert all(row.keys() == KEYS and row["path"] == path for row in rows)
    assert all(row["count"] > 0 and row["ratio"] > 0 and row["gb_per_s"] > 0 for row in rows)
    what = [(row["op"], row["state"], row["size_bytes"], row["depth"]) for row in rows]
    assert what[:4] == [("write", "disk", LARGE, 1), ("read", "miss", LARGE, 1), ("read", "hit", LARGE, 1), ("write", "memory", LARGE, 1)]
    assert what[4:9] == [
        ("read", "hit", 4096, 1), ("read", "hit", 4096, 32), ("read", "hit", 1 << 20, 1), ("read", "hit", 1 << 20, 32), ("write", "disk", 4096, 32),
    ]  # fmt: skip
    assert [(op, size) for op, _, size, _ in what[9:]] == [("write", 2 << 20), ("read", 2 << 20)]
    # A process of its own removes what the run made.
    deadline = time.monotonic() + 30
    while list(place.glob("*bench*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list(place.glob("*bench*"))
