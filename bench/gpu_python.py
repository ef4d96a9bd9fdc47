"""pygd2fs on a machine with GPUs: builds the extension for the Python that is here (needs g++ and Python's
headers), then reads a safetensors checkpoint into CUDA tensors: in a process that has done so before, and in
fresh ones, beside safetensors' own loader out of the page cache and what the link carries.

    gpu_python.py BUILD_FOLDER [GIB]
"""

import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time

BUILD = pathlib.Path(sys.argv[1]).resolve()
FRESH = sys.argv[2:3] == ["fresh"]
GIB = int(sys.argv[2]) if len(sys.argv) > 2 and not FRESH else 16


def build_extension():
    headers = sysconfig.get_paths()["include"]
    if not (pathlib.Path(headers) / "Python.h").exists() or shutil.which("g++") is None:
        print("NOTE no Python.h or no g++ here: pygd2fs was not tried")
        sys.exit(0)
    out = pathlib.Path(tempfile.mkdtemp(prefix="pygd2fs-"))
    shutil.copytree(BUILD / "python" / "pygd2fs", out / "pygd2fs")
    flags = ["-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-D_GNU_SOURCE", f"-I{headers}", f"-I{BUILD}/include"]
    jobs = []
    for source in sorted((BUILD / "extension").glob("*.cc")):
        jobs.append((source, subprocess.Popen(["g++", *flags, "-c", source, "-o", out / (source.stem + ".o")])))
    for source, job in jobs:
        if job.wait() != 0:
            sys.exit(f"FAIL compiling {source.name}")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    subprocess.run(
        ["g++", "-shared", *out.glob("*.o"), BUILD / "lib" / "libgd2fs.so.1", f"-Wl,-rpath,{BUILD}/lib", "-o", out / "pygd2fs" / f"_pygd2fs{suffix}"],
        check=True,
    )
    return str(out)


# A fresh process takes what its parent built.
sys.path.insert(0, os.environ.get("GD2FS_BENCH_PYTHON") or build_extension())

import torch  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import gpu_client  # noqa: E402
import pygd2fs  # noqa: E402
from pygd2fs.safetensors import load_file  # noqa: E402

row, check = gpu_client.row, gpu_client.check
PATH = "/model.safetensors"


def checkpoint(path, gib):
    """A safetensors file of `gib` GiB of random bytes in tensors of 1 MiB to 1 GiB."""
    sizes = []
    while sum(sizes) < gib << 30:
        sizes.append((1 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30)[len(sizes) % 5])
    header, at = {}, 0
    for i, size in enumerate(sizes):
        header[f"layer.{i}"] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        left = at
        while left:
            take = min(left, 256 << 20)
            file.write(torch.randint(0, 256, (take,), dtype=torch.uint8, device="cuda").cpu().numpy())
            left -= take
    return at


def loaded(load):
    """Seconds, and what was loaded."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    tensors = load()
    torch.cuda.synchronize()
    return time.perf_counter() - began, tensors


def connect(address):
    return pygd2fs.Client(address, "tcp://127.0.0.1", "bench")


def fresh(address):
    """One load with all that a new process has to do, but for Python, torch and the CUDA context."""
    torch.zeros(1, device="cuda")
    began = time.perf_counter()
    client = connect(address)
    connected = time.perf_counter() - began
    seconds, tensors = loaded(lambda: load_file(client, PATH, device="cuda"))
    sums = [int(tensor.view(torch.int16).sum(dtype=torch.int64)) for tensor in tensors.values()]
    print(json.dumps({"connect": connected, "seconds": connected + seconds, "sums": sums, "counters": client.Counters()}))


def link_gbps():
    pinned = torch.zeros(1 << 30, dtype=torch.uint8, pin_memory=True)
    target = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
    times = [loaded(lambda: target.copy_(pinned, non_blocking=True))[0] for _ in range(9)]
    return (1 << 30) / statistics.median(times) / 1e9


def same_bytes(tensors, local, size):
    source = torch.from_file(local, size=os.path.getsize(local), dtype=torch.uint8)
    at = os.path.getsize(local) - size
    for one in tensors.values():
        length = one.numel() * 2
        if not torch.equal(one.view(torch.uint8), source[at : at + length].cuda()):
            return False
        at += length
    return True


def in_this_process(address, size, local):
    """Seconds of the loads one after another, and the sums of the tensors."""
    with connect(address) as client:
        source = torch.from_file(local, size=os.path.getsize(local), dtype=torch.uint8)
        row("checkpoint_put", gib=size / 2**30, seconds=loaded(lambda: client.write_from(PATH, source))[0])
        tensor = torch.randn(1000, dtype=torch.float16, device="cuda")
        back = torch.zeros_like(tensor)
        client.write_from("/t", tensor)
        client.read_into("/t", back)
        check("a torch CUDA tensor is a target and a source", torch.equal(tensor, back))
        times = []
        for number in range(6):
            torch.cuda.empty_cache()
            before = client.Counters()["gpu_straight_read_bytes"]
            seconds, tensors = loaded(lambda: load_file(client, PATH, device="cuda"))
            straight = (client.Counters()["gpu_straight_read_bytes"] - before) / size
            times.append((seconds, straight))
            if number < 5:
                del tensors
        check(f"{len(tensors)} tensors of the checkpoint are equal", same_bytes(tensors, local, size))
        sums = [int(tensor.view(torch.int16).sum(dtype=torch.int64)) for tensor in tensors.values()]
    return times, sums


def in_fresh_processes(address, sums, out):
    runs = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, __file__, str(BUILD), "fresh", address], env=dict(os.environ, GD2FS_BENCH_PYTHON=out), capture_output=True, text=True
        )
        if done.returncode != 0:
            check(f"a fresh process loads: {done.stderr[-1000:]}", False)
            continue
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        check("a fresh process has the same tensors", runs[-1]["sums"] == sums)
    return runs


def reference(local):
    """Seconds of safetensors' own loader; None, and why, if it cannot be had."""
    try:
        from safetensors.torch import load_file as load

        times = []
        for _ in range(3):
            torch.cuda.empty_cache()
            times.append(loaded(lambda: load(local, device="cuda"))[0])
    except Exception as error:  # noqa: BLE001 - ours was measured all the same
        print(f"NOTE safetensors' own loader: {error}")
        return None
    return statistics.median(times)


def main():
    torch.cuda.init()
    server = gpu_client.Server(f"{GIB + 4}GiB")
    try:
        local = server.folder + "/model.safetensors"
        size = checkpoint(local, GIB)
        os.environ["GD2FS_TOKEN_FILE"] = server.token_file("bench")
        times, sums = in_this_process(server.address, size, local)
        torch.cuda.empty_cache()
        runs = in_fresh_processes(server.address, sums, os.path.dirname(pygd2fs.__path__[0]))
        link = link_gbps()
        seconds = statistics.median(t[0] for t in times[2:])
        allowed = 1.1 * size / link / 1e9 + 0.1
        row("checkpoint_load", gib=size / 2**30, link_gbps=link, first_s=times[0][0], first_straight=times[0][1], registered_s=seconds,
            registered_straight=times[-1][1], registered_allowed_s=allowed, fresh_s=statistics.median(r["seconds"] for r in runs) if runs else None,
            fresh_straight=runs[0]["counters"]["gpu_straight_read_bytes"] / size if runs else None, safetensors_s=reference(local))  # fmt: skip
    finally:
        server.stop()


if FRESH:
    fresh(sys.argv[3])
else:
    main()
