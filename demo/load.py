#!/usr/bin/env python3
"""One loading process of the demo: reads a model into torch tensors, from GD2FS or from local
files, prints {"seconds", "bytes", "tensors"} as JSON, and checks what it loaded.

    load.py gd2fs CP_ADDRESS CLUSTER FOLDER LOCAL_FOLDER [--check] [--embed]
    load.py files LOCAL_FOLDER [--cold]
"""

import ctypes
import json
import os
import pathlib
import sys
import time

import torch

SENTENCES = ["GD2FS delivers weights straight to the GPU.", "The quick brown fox jumps over the lazy dog."]


def local_files(folder):
    return sorted(pathlib.Path(folder).glob("*.safetensors"))


def load_local(folder):
    """Plain safetensors, into memory of its own (load_file alone would only map the file)."""
    from safetensors.torch import load_file

    tensors = {}
    for path in local_files(folder):
        tensors |= {name: tensor.clone() for name, tensor in load_file(path).items()}
    return tensors


def drop_page_cache(folder):
    for path in local_files(folder):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def check_equal(loaded, folder):
    """Bit for bit, NaNs included."""
    from safetensors import safe_open

    seen = set()
    for path in local_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                seen.add(name)
                if not torch.equal(raw(loaded[name]), raw(file.get_tensor(name))):
                    raise SystemExit(f"WRONG BYTES in tensor {name}")
    if seen != set(loaded):
        raise SystemExit(f"the tensor names differ: {sorted(seen ^ set(loaded))[:5]}")
    return len(seen)


def embed(tensors, folder):
    """Sentence embeddings of a MiniLM model with the weights given: mean over the tokens, length 1."""
    from transformers import AutoConfig, AutoTokenizer, BertModel

    model = BertModel(AutoConfig.from_pretrained(folder), add_pooling_layer=True)
    missing, _ = model.load_state_dict(tensors, strict=False, assign=True)
    missing = [name for name in missing if "position_ids" not in name]
    if missing:
        raise SystemExit(f"weights missing from the checkpoint: {missing}")
    model.eval()
    batch = AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        tokens = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    return torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=1)


def main():
    torch.set_num_threads(2)
    source, arguments = sys.argv[1], [word for word in sys.argv[2:] if not word.startswith("--")]
    report = {}
    if source == "files":
        if "--cold" in sys.argv:
            drop_page_cache(arguments[0])
        began = time.perf_counter()
        tensors = load_local(arguments[0])
        report["seconds"] = time.perf_counter() - began
    else:
        import pygd2fs
        from pygd2fs.safetensors import load_checkpoint

        cp_address, cluster, folder, local = arguments
        with pygd2fs.Client(cp_address, "tcp://127.0.0.1", cluster) as client:
            began = time.perf_counter()
            tensors = load_checkpoint(client, folder)
            report["seconds"] = time.perf_counter() - began
        if "--check" in sys.argv:
            report["tensors_equal"] = check_equal(tensors, local)
        if "--embed" in sys.argv:
            ours, theirs = embed(tensors, local), embed(load_local(local), local)
            if not torch.equal(ours, theirs):
                raise SystemExit("the embeddings differ")
            report["embedding"] = [round(x, 4) for x in ours[0][:4].tolist()]
            report["similarity"] = round(float(ours[0] @ ours[1]), 4)
    report["bytes"] = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    report["tensors"] = len(tensors)
    print(json.dumps(report))
    ctypes.CDLL(None).fflush(None)


if __name__ == "__main__":
    main()
