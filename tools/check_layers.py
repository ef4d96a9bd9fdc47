#!/usr/bin/env python3
"""Fails when a source file includes a header of a layer that its own layer may not link.

The permitted edges are read from the gd2fs_layer(...) lines of CMakeLists.txt, so that the build
file stays the one list of who may link whom. Tests may also use their layer's TEST_DEPS, and so may
headers that only tests include.
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


def includes_of(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'#include "([^"]+)"', line)
        if match:
            yield number, match.group(1)


def test_files(layers):
    """Tests, fuzzers and benches, and the headers that nothing but those include."""
    paths = [path for layer in layers.values() for path in (ROOT / layer["dir"]).glob("*.[ch]*")]
    tests = {path for path in paths if re.search(r"_(test|fuzz|bench)\.cc$", path.name)}
    includers = {}
    for path in paths:
        for _, name in includes_of(path):
            for base in (ROOT, ROOT / "src"):
                includers.setdefault(base / name, set()).add(path)
    while True:
        more = {path for path in paths if path.suffix == ".h" and includers.get(path) and includers[path] <= tests}
        if more <= tests:
            return tests
        tests |= more


def main():
    layers = read_layers()
    tests = test_files(layers)
    owner = {}  # include prefix -> layer
    for name, layer in layers.items():
        owner[layer["dir"].removeprefix("src/")] = name
    prefixes = sorted(owner, key=len, reverse=True)
    wrong = []
    for name, layer in layers.items():
        allowed = closure(layers, [name])
        for path in sorted((ROOT / layer["dir"]).glob("*.[ch]*")):
            may = closure(layers, list(allowed) + layer["test_deps"]) if path in tests else allowed
            for number, name_included in includes_of(path):
                folder = str(pathlib.PurePosixPath(name_included).parent)
                prefix = next((p for p in prefixes if folder == p), None)
                if prefix and owner[prefix] not in may:
                    wrong.append(f"{path.relative_to(ROOT)}:{number}: {name} may not include {name_included}")
    print("\n".join(wrong) if wrong else f"layers: {len(layers)} layers, every include allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
