#!/usr/bin/env python3
"""Writes a checkpoint with the true tensor names, shapes, dtypes and shards of Qwen3-1.7B (its
config.json: 28 layers, hidden 2048, 16 heads, 8 KV heads of 128, MLP 6144, vocabulary 151936,
bfloat16; 4.06 GB in two shards), filled with random bytes, into the folder given. Loading speed
does not depend on the values, and no hub is asked."""

import json
import pathlib
import sys

import numpy

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD, MLP, VOCABULARY = 28, 2048, 16, 8, 128, 6144, 151936


def shards():
    first = {"model.embed_tokens.weight": [VOCABULARY, HIDDEN]}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        first |= {
            prefix + "input_layernorm.weight": [HIDDEN],
            prefix + "mlp.down_proj.weight": [HIDDEN, MLP],
            prefix + "mlp.gate_proj.weight": [MLP, HIDDEN],
            prefix + "mlp.up_proj.weight": [MLP, HIDDEN],
            prefix + "post_attention_layernorm.weight": [HIDDEN],
            prefix + "self_attn.k_norm.weight": [HEAD],
            prefix + "self_attn.k_proj.weight": [KV_HEADS * HEAD, HIDDEN],
            prefix + "self_attn.o_proj.weight": [HIDDEN, HEADS * HEAD],
            prefix + "self_attn.q_norm.weight": [HEAD],
            prefix + "self_attn.q_proj.weight": [HEADS * HEAD, HIDDEN],
            prefix + "self_attn.v_proj.weight": [KV_HEADS * HEAD, HIDDEN],
        }
    first["model.norm.weight"] = [HIDDEN]
    return [first, {"lm_head.weight": [VOCABULARY, HIDDEN]}]


def write_shard(path, tensors, random):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors.items():
        length = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + length]}
        offset += length
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        left = offset
        while left:
            part = min(left, 64 << 20)
            file.write(random.bytes(part))
            left -= part
    return offset


def main():
    folder = pathlib.Path(sys.argv[1])
    done = folder / "complete"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.Generator(numpy.random.SFC64(20250428))
    weight_map, total = {}, 0
    parts = shards()
    for number, tensors in enumerate(parts, 1):
        name = f"model-{number:05}-of-{len(parts):05}.safetensors"
        total += write_shard(folder / name, tensors, random)
        weight_map |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD, "intermediate_size": MLP, "vocab_size": VOCABULARY, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    done.touch()


if __name__ == "__main__":
    main()
