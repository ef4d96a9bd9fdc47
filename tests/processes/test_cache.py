"""The servers' memory: single flight across processes, warmup, pins, durability memory."""
import os
import pathlib
import subprocess
import sys

import pytest

from cold_reader import BLOCK, PIECE, pattern
from deployment import free_port
from library import FSYNC, Ctx
from test_metrics import get

COLD_BYTES = int(os.environ.get("GD2FS_COLD_BYTES", 512 << 20))
COMPARE_EVERY = int(os.environ.get("GD2FS_COLD_COMPARE", 1))  # 16: for taking the time


def metric(port, name):
    _, text = get(port, "/metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(values[name])


def connect(deployment, **options):
    return Ctx(deployment.address, deployment.cluster, deployment.token_file, **options)


def write_pattern(deployment, path, size):
    ctx = connect(deployment, buffer_bytes=PIECE)
    for offset in range(0, size, PIECE):
        first = offset // BLOCK
        ctx.write(path, offset, b"".join(pattern(first + i) for i in range(PIECE // BLOCK)))
    ctx.close()


def read_at_once(address, token, path, size, readers, env=None):
    """So many processes read it from the same moment on: seconds until all have it, seconds in reads."""
    script = pathlib.Path(__file__).with_name("cold_reader.py")
    started = [subprocess.Popen([sys.executable, str(script), address, str(token), str(path), str(size),
                                 str(COMPARE_EVERY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
               for _ in range(readers)]
    for reader in started:
        assert reader.stdout.readline() == "ready\n"
    for reader in started:
        reader.stdin.write("go\n")
        reader.stdin.flush()
    took = []
    for reader in started:
        out, _ = reader.communicate(timeout=600)
        assert reader.returncode == 0
        took.append([float(seconds) for seconds in out.split()])
    return [max(column) for column in zip(*took)]


def read_cold(deployment, port, path, size, readers):
    """The same of a file that has been evicted; first of all the bytes that came off the drive."""
    deployment.run("warmup", path, "--evict")
    before = metric(port, "gd2fs_store_disk_read_bytes_total")
    seconds, reading = read_at_once(deployment.address, deployment.token_file, path, size, readers, deployment.env())
    return metric(port, "gd2fs_store_disk_read_bytes_total") - before, seconds, reading


def copy_at_once(size, readers):
    """The same of memory that nobody else has to do with."""
    with open(os.memfd_create("copies"), "wb") as file:
        for block in range(size // BLOCK):
            file.write(pattern(block))
        file.flush()
        return read_at_once("memory", "-", f"/proc/{os.getpid()}/fd/{file.fileno()}", size, readers)[0]


def test_eight_processes_that_read_one_cold_file_make_the_drive_read_it_once(make_deployment):
    port = free_port()
    slab = max(1 << 30, COLD_BYTES + (512 << 20))
    deployment = make_deployment("--metrics", f"127.0.0.1:{port}", "--slab", f"{slab >> 20}MiB").start()
    write_pattern(deployment, "/cold", COLD_BYTES)
    one, one_s, one_reading_s = read_cold(deployment, port, "/cold", COLD_BYTES, 1)
    eight, eight_s, eight_reading_s = read_cold(deployment, port, "/cold", COLD_BYTES, 8)
    copies_s = copy_at_once(COLD_BYTES, 8)
    print(f"{COLD_BYTES >> 20} MiB: one process {one_s:.2f} s ({one_reading_s:.2f} s in reads), eight {eight_s:.2f} s "
          f"({eight_reading_s:.2f} s in reads), eight copies of it from memory {copies_s:.2f} s; eight take "
          f"{eight_s / max(one_s, copies_s):.2f} of the longer one; off the drive {one / COLD_BYTES:.4f} and "
          f"{eight / COLD_BYTES:.4f} of the file")
    assert one <= 1.02 * COLD_BYTES
    assert eight <= 1.02 * COLD_BYTES


@pytest.fixture
def models(deployment):
    folder = deployment.place / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(os.urandom(9 << 20))
    (folder / "deep/b").write_bytes(os.urandom(1 << 20))
    deployment.run("put", "model", "/model")
    return "/model"


def rows(deployment, *arguments, code=0):
    return {row["path"]: row for row in deployment.json(*arguments, code=code)}


def test_warmup_brings_a_folder_into_memory_and_cache_stat_shows_it(deployment, models):
    before = rows(deployment, "warmup", models, "--evict")
    assert all(row["resident_bytes"] == 0 for row in before.values())
    assert {"/model/a", "/model/deep/b"} <= before.keys()
    rows(deployment, "warmup", models, "--check", code=1)
    rows(deployment, "warmup", models)
    rows(deployment, "warmup", models, "--check")
    stat = rows(deployment, "cache", "stat", models)
    assert stat["/model/a"]["resident_bytes"] == 9 << 20
    assert stat["/model/a"]["percent"] == 100 and not stat["/model/a"]["pinned"]
    assert "IN MEMORY" in deployment.run("cache", "stat", "/model/a")
    assert "No such file" in deployment.errors("warmup", "/nothing", code=3)


def test_a_pin_is_kept_over_a_restart_and_refused_over_half_of_the_memory(deployment, models):
    deployment.run("cache", "pin", models)
    assert all(row["pinned"] for row in rows(deployment, "cache", "stat", models).values())
    deployment.restart()
    assert deployment.json("stat", "/model/a")["pinned"]
    deployment.run("cache", "unpin", models)
    assert not deployment.json("stat", "/model/a")["pinned"]
    ctx = connect(deployment)
    ctx.create("/huge", 200 << 20)  # of a slab of 256 MiB
    ctx.close()
    assert "more than half" in deployment.errors("cache", "pin", "/huge", code=6)
    assert not deployment.json("stat", "/huge")["pinned"]


def test_with_durability_memory_a_kill_loses_only_what_was_not_flushed(deployment, seeded):
    deployment.run("cluster", "set", deployment.cluster, "--durability", "memory")
    assert deployment.json("cluster", "ls")[0]["durability"] == "memory"
    flushed = seeded.randbytes(8 << 20)
    for round_ in range(4):
        ctx = connect(deployment)
        for i in range(8):
            ctx.write(f"/flushed{round_}", i << 20, flushed[i << 20:(i + 1) << 20])
        ctx.call(FSYNC, f"/flushed{round_}")
        late = seeded.randbytes(1 << 20)
        for i in range(4):
            ctx.write(f"/late{round_}", i << 20, late)
        deployment.kill()
        deployment.start()
        ctx.close()
        ctx = connect(deployment)
        for known in range(round_ + 1):
            assert ctx.read_all(f"/flushed{known}") == flushed, known
        data = ctx.read_all(f"/late{round_}")
        for i in range(4):
            part = data[i << 20:(i + 1) << 20]
            assert part in (late, bytes(len(part))), f"round {round_}, write {i}: torn or wrong"
        ctx.close()
    deployment.restart()
    ctx = connect(deployment)
    assert ctx.read_all("/flushed3") == flushed
    ctx.close()
