"""pygd2fs on a machine with GPUs: builds the extension for the Python that is here (needs g++ and Python's
headers), then reads a safetensors checkpoint into CUDA tensors, beside safetensors' own loader if it is here.

    gpu_python.py BUILD_FOLDER [GIB]
"""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time

BUILD = pathlib.Path(sys.argv[1]).resolve()
GIB = int(sys.argv[2]) if len(sys.argv) > 2 else 16


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
    sys.path.insert(0, str(out))


build_extension()

import torch  # noqa: E402

sys.argv = [sys.argv[0], str(BUILD)]
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import gpu_e2e  # noqa: E402 - starts nothing when it is imported by name
import pygd2fs  # noqa: E402
from pygd2fs.safetensors import load_file  # noqa: E402

row, check = gpu_e2e.row, gpu_e2e.check


def checkpoint(path, gib):
    """A safetensors file of `gib` GiB in tensors of 1 MiB to 1 GiB."""
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
        block = torch.randint(0, 256, (256 << 20,), dtype=torch.uint8).numpy()
        left = at
        while left:
            take = min(left, block.nbytes)
            block[:8].view("u8")[0] = left
            file.write(block[:take])
            left -= take
    return at


def main():
    server = gpu_e2e.Server(f"{GIB + 4}GiB")
    try:
        local = server.folder + "/model.safetensors"
        size = checkpoint(local, GIB)
        with pygd2fs.Client(server.address, "tcp://127.0.0.1", "bench") as client:
            source = torch.from_file(local, size=os.path.getsize(local), dtype=torch.uint8)
            began = time.perf_counter()
            client.write_from("/model.safetensors", source)
            row("checkpoint_put", gib=size / 2**30, seconds=time.perf_counter() - began)
            small = torch.zeros(1000, dtype=torch.float16, device="cuda")
            tensor = torch.randn(1000, dtype=torch.float16, device="cuda")
            client.write_from("/t", tensor)
            client.read_into("/t", small)
            check("a torch CUDA tensor is a target and a source", torch.equal(tensor, small))
            times = []
            for _ in range(3):
                torch.cuda.empty_cache()
                torch.cuda.synchronize()
                began = time.perf_counter()
                tensors = load_file(client, "/model.safetensors", device="cuda")
                torch.cuda.synchronize()
                times.append(time.perf_counter() - began)
                if len(times) < 3:
                    del tensors
            at = os.path.getsize(local) - size
            good = True
            for name, one in tensors.items():
                length = one.numel() * 2
                good = good and torch.equal(one.view(torch.uint8), source[at : at + length].cuda())
                at += length
            check(f"{len(tensors)} tensors of the checkpoint are equal", good)
            del tensors
        torch.cuda.empty_cache()
        reference = []
        try:
            from safetensors.torch import load_file as reference_load

            for _ in range(3):
                began = time.perf_counter()
                reference_load(local, device="cuda")
                torch.cuda.synchronize()
                reference.append(time.perf_counter() - began)
                torch.cuda.empty_cache()
        except ImportError:
            print("NOTE safetensors is not here")
        row("checkpoint_load", gib=size / 2**30, first_s=times[0], best_s=min(times), gbps=size / min(times) / 1e9, safetensors_s=min(reference) if reference else None)
    finally:
        server.stop()


main()
