#!/usr/bin/env python3
"""Fails when a source file includes a header of a layer that its own layer may not link.

The permitted edges are read from the gd2fs_layer(...) lines of CMakeLists.txt, so that the build
file stays the one list of who may link whom. Tests may also use their layer's TEST_DEPS.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def read_layers():
    text = (ROOT / "CMakeLists.txt").read_text()
    layers = {}
    for match in re.finditer(r"^\s*gd2fs_layer\((\w+)([^)]*)\)", text, re.M):
        name, rest = match.group(1), match.group(2).split()
        fields, key = {"DIR": [], "DEPS": [], "LIBS": [], "TEST_DEPS": []}, None
        for word in rest:
            if word in fields:
                key = word
            elif key:
                fields[key].append(word)
        layers[name] = {
            "dir": fields["DIR"][0] if fields["DIR"] else f"src/{name}",
            "deps": fields["DEPS"],
            "test_deps": fields["TEST_DEPS"],
        }
    return layers


def closure(layers, names):
    seen, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += layers[name]["deps"]
    return seen


def main():
    layers = read_layers()
    owner = {}  # include prefix -> layer
    for name, layer in layers.items():
        owner[layer["dir"].removeprefix("src/")] = name
    prefixes = sorted(owner, key=len, reverse=True)
    wrong = []
    for name, layer in layers.items():
        allowed = closure(layers, [name])
        for path in sorted((ROOT / layer["dir"]).glob("*.[ch]*")):
            is_test = re.search(r"_(test|fuzz|bench)\.cc$", path.name)
            may = closure(layers, list(allowed) + layer["test_deps"]) if is_test else allowed
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'#include "([^"]+)"', line)
                if not match:
                    continue
                folder = str(pathlib.PurePosixPath(match.group(1)).parent)
                prefix = next((p for p in prefixes if folder == p), None)
                if prefix and owner[prefix] not in may:
                    wrong.append(f"{path.relative_to(ROOT)}:{number}: {name} may not include {match.group(1)}")
    print("\n".join(wrong) if wrong else f"layers: {len(layers)} layers, every include allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
