"""Loads safetensors checkpoints out of a GD2FS cluster into torch tensors.

    import pygd2fs
    from pygd2fs.safetensors import load_checkpoint

    with pygd2fs.Client("gd2fs://127.0.0.1:7527", "tcp://127.0.0.1", "gd2fs-cluster0") as client:
        tensors = load_checkpoint(client, "/models/Qwen3-1.7B")

The files are read as they lie on the hub; nothing is converted. Each file's tensors share one block
of memory that lives as long as any of them. Only the bytes of the tensors asked for are read.

Format (safetensors 0.x): an 8-byte little-endian length N, N bytes of JSON that maps each name to
{dtype, shape, data_offsets: [begin, end]} relative to the end of the JSON, then the data.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ._names import OP_READ
from ._pygd2fs import SGE, _Queue

if TYPE_CHECKING:
    import torch

    from . import Client

# One request moves at most this much, so that progress is visible and memory in flight bounded.
REQUEST_BYTES = 64 << 20
# Two wanted ranges closer than this are read as one: a request costs more than these bytes.
MERGE_GAP_BYTES = 256 << 10
HEADER_MAX_BYTES = 100 << 20  # the format's own limit
_MADV_HUGEPAGE = 14

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


class CheckpointError(Exception):
    """A file is not the checkpoint that it should be; the message names the file and what is wrong."""


def _memory(length_bytes: int) -> mmap.mmap:
    """Fresh anonymous memory, in huge pages where the kernel gives them: filling 4 KiB pages one
    fault at a time costs more than the transfer."""
    memory = mmap.mmap(-1, max(length_bytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(_MADV_HUGEPAGE)
    except OSError:
        pass  # a kernel without transparent huge pages; only slower
    return memory


def _address(memory: mmap.mmap) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _tensor_memory(length_bytes: int, device: torch.device) -> tuple[torch.Tensor, int]:
    """A flat tensor of bytes on the device, and its address."""
    import torch

    if device.type == "cpu":
        memory = _memory(length_bytes)
        return torch.frombuffer(memory, dtype=torch.uint8), _address(memory)
    flat = torch.empty(max(length_bytes, 1), dtype=torch.uint8, device=device)
    return flat, flat.data_ptr()


def _read_ranges(
    client: Client,
    path: str,
    ranges: list[tuple[int, int, int]],
    address: int,
    size: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Reads each (file offset, length, offset in memory) into [address, address + size) and waits for
    all of them, on a completion queue of its own: what others of the program wait for stays theirs."""
    iomem = client.RegIOMEM(address, size)
    queue = _Queue(client)
    try:
        expected = {}
        for offset, length, target in ranges:
            for at in range(0, length, REQUEST_BYTES):
                part = min(REQUEST_BYTES, length - at)
                sge = SGE(address + target + at, part, iomem)
                request = client._transfer(
                    queue, OP_READ, path, offset + at, [sge], 0, f"{path}@{offset + at}"
                )
                expected[request] = part
        while expected:
            for request in queue.reap(-1):
                wanted = expected.pop(request)
                if request.Check() != wanted:
                    raise CheckpointError(f"{path}: the file is shorter than its header says")
                if progress is not None:
                    progress(wanted)
    finally:
        client.DeregIOMEM(iomem)
        queue.destroy()


def read_bytes(client: Client, path: str, offset: int, length: int) -> bytes:
    """`length` bytes of a file."""
    memory = _memory(length)
    _read_ranges(client, path, [(offset, length, 0)], _address(memory), len(memory))
    return memory[:length]


def read_header(client: Client, path: str) -> tuple[dict[str, Any], int]:
    """The JSON header of a safetensors file and the file offset at which its data begins."""
    size = client.Stat(path).size
    if size < 8:
        raise CheckpointError(f"{path}: {size} bytes are too few for a safetensors file")
    length = int.from_bytes(read_bytes(client, path, 0, 8), "little")
    if length > min(HEADER_MAX_BYTES, size - 8):
        raise CheckpointError(f"{path}: a header of {length} bytes cannot be right")
    try:
        header = json.loads(read_bytes(client, path, 8, length))
    except ValueError as error:
        raise CheckpointError(f"{path}: the header is no JSON: {error}") from error
    header.pop("__metadata__", None)
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end <= size - 8 - length:
            raise CheckpointError(f"{path}: tensor {name} lies outside the file")
    return header, 8 + length


def _plan(entries: list[tuple[str, int, int]]) -> Iterator[tuple[int, int, list[tuple[str, int, int]]]]:
    """Merges neighbouring (name, begin, end) into runs: (begin, end, members)."""
    run: list[tuple[str, int, int]] = []
    for entry in sorted(entries, key=lambda item: item[1]):
        if run and entry[1] - run[-1][2] > MERGE_GAP_BYTES:
            yield run[0][1], run[-1][2], run
            run = []
        run.append(entry)
    if run:
        yield run[0][1], run[-1][2], run


def load_file(
    client: Client,
    path: str,
    names: set[str] | None = None,
    progress: Callable[[int], None] | None = None,
    device: str | int | torch.device = "cpu",
) -> dict[str, torch.Tensor]:
    """Tensors of one safetensors file by name; all of them, or those in `names`. `device`: "cpu", or a
    CUDA GPU, whose memory the bytes go to straight away."""
    import torch

    target = torch.device(device)

    header, data_begin = read_header(client, path)
    wanted = [
        (name, entry["data_offsets"][0], entry["data_offsets"][1])
        for name, entry in header.items()
        if names is None or name in names
    ]
    runs, total, places = [], 0, {}
    for begin, end, members in _plan(wanted):
        runs.append((data_begin + begin, end - begin, total))
        for name, tensor_begin, tensor_end in members:
            places[name] = (total + tensor_begin - begin, tensor_end - tensor_begin)
        # Tensors keep their alignment in the file relative to a fresh 4 KiB boundary per run.
        total += (end - begin + 4095) // 4096 * 4096
    memory, address = _tensor_memory(total, target)
    if runs:
        _read_ranges(client, path, runs, address, memory.numel(), progress)
    tensors = {}
    for name, (offset, length) in places.items():
        entry = header[name]
        if entry["dtype"] not in _DTYPES:
            raise CheckpointError(f"{path}: tensor {name} has the unknown dtype {entry['dtype']}")
        dtype = getattr(torch, _DTYPES[entry["dtype"]])
        if length == 0:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype, device=target)
            continue
        flat = memory[offset : offset + length]
        if offset % dtype.itemsize:
            flat = flat.clone()  # a writer that did not align its data
        tensors[name] = flat.view(dtype).reshape(entry["shape"])
    return tensors


def load_checkpoint(
    client: Client,
    folder: str,
    names: set[str] | None = None,
    progress: Callable[[int], None] | None = None,
    device: str | int | torch.device = "cpu",
) -> dict[str, torch.Tensor]:
    """All tensors (or those in `names`) of a Hugging Face repository's folder: of its
    model.safetensors, or of every shard that model.safetensors.index.json lists. `device` as for
    load_file."""
    files = {entry.name for entry in client.Readdir(folder)}
    if "model.safetensors.index.json" in files:
        index_path = f"{folder}/model.safetensors.index.json"
        index = json.loads(read_bytes(client, index_path, 0, client.Stat(index_path).size))
        shards: dict[str, set[str]] = {}
        for name, shard in index["weight_map"].items():
            if names is None or name in names:
                shards.setdefault(shard, set()).add(name)
        missing = sorted(set(shards) - files)
        if missing:
            raise CheckpointError(f"{folder}: the index lists shards that are not there: {missing}")
    elif "model.safetensors" in files:
        shards = {"model.safetensors": set() if names is None else set(names)}
    else:
        raise CheckpointError(f"{folder}: neither model.safetensors nor its index is there")
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(shards):
        tensors.update(
            load_file(client, f"{folder}/{shard}", shards[shard] or None, progress, device)
        )
    return tensors
