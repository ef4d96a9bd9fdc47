#!/usr/bin/env python3
"""Runs clang-tidy-19 over our sources, and looks in every coroutine for what g++ 12 destroys twice.

    tools/tidy.py BUILD_FOLDER [FILE...]

The build folder is one configured with clang (its compile commands are used); without FILE, every source in it that is
not a test is tidied, and every source with a coroutine, tests included, is looked through (docs/decisions/015). A
source that passed is not read again until it, a header of ours under it, its flags, the profile or these tools change:
what passed lies by content in ~/.cache/gd2fs/tidy-passed, for all clones on this machine. GD2FS_TIDY_DEEP=1 lets the
analyzer follow every call, which takes four times as long.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
QUERY = TOOLS / "coroutine_temporaries.query"
CASES = TOOLS / "coroutine_temporaries.cc"
TIDIED = ("src/", "sim/", "bench/", "tests/abi/")
DEEP = os.environ.get("GD2FS_TIDY_DEEP", "0") == "1"
ANALYZER = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "mode=shallow")]
TWICE = re.compile(r'^(\S+):(\d+):\d+: note: "twice" binds here$', re.M)


class Sources:
    """Our sources and what they include of ours."""

    def __init__(self, build):
        self.roots = [ROOT, ROOT / "src", ROOT / "include", build / "generated"]
        self.build = build
        self.commands = {}
        for entry in json.loads((build / "compile_commands.json").read_text()):
            path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
            if path.is_relative_to(ROOT) and not path.is_relative_to(build):
                self.commands[path] = entry["command"].replace(str(ROOT), "")
        self.read = {}

    def includes(self, path):
        """What a file includes, and whether it awaits."""
        if path not in self.read:
            text = path.read_bytes()
            names = re.findall(r'^#include "([^"]+)"', text.decode(errors="replace"), re.M)
            found = [next((base / name for base in [path.parent, *self.roots] if (base / name).exists()), None)
                     for name in names]
            self.read[path] = ([p.resolve() for p in found if p], hashlib.sha256(text).hexdigest(), b"co_await" in text)
        return self.read[path]

    def closure(self, path):
        seen, todo = set(), [path]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += self.includes(at)[0]
        return sorted(seen)


def is_test(path):
    return re.search(r"_(test|fuzz|bench)\.cc$", path.name) and path.is_relative_to(ROOT / "src")


def tool_hash():
    whole = hashlib.sha256(subprocess.check_output(["clang-tidy-19", "--version"]) + str(DEEP).encode())
    for path in (ROOT / ".clang-tidy", pathlib.Path(__file__), QUERY):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def run(command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def tidy(build, path):
    done = run(["clang-tidy-19", "--quiet", "-p", build, *([] if DEEP else ANALYZER), path])
    return [] if done.returncode == 0 else [done.stdout.strip() or done.stderr.strip()]


def look_through(arguments):
    """The lines at which a coroutine has a temporary that g++ 12 destroys twice."""
    done = run(["clang-query-19", "-f", QUERY, *arguments])
    if done.returncode != 0 or re.search(r"\berror:|^\d+:\d+: ", done.stdout + done.stderr, re.M):
        sys.exit(f"tidy: clang-query failed on {arguments}\n{done.stdout}\n{done.stderr}")
    return sorted({(path, int(line)) for path, line in TWICE.findall(done.stdout)})


def check_eyesight():
    marked = {number for number, line in enumerate(CASES.read_text().splitlines(), 1) if "// twice" in line}
    found = {line for _, line in look_through([CASES, "--", "-std=c++23"])}
    if found != marked:
        sys.exit(f"tidy: of the cases in {CASES.name}, lines {sorted(marked)}, the query finds {sorted(found)}")


def check(sources, build, path):
    found = []
    if path.is_relative_to(ROOT) and str(path.relative_to(ROOT)).startswith(TIDIED) and not is_test(path):
        found += tidy(build, path)
    if sources.includes(path)[2]:
        for file, line in look_through(["-p", build, path]):
            found.append(f"{file}:{line}: g++ 12 destroys a temporary of this co_await twice: give it a name first "
                         "(docs/decisions/015)")
    return found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    sources = Sources(build)
    passed = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "gd2fs/tidy-passed"
    passed.mkdir(parents=True, exist_ok=True)
    wanted = [pathlib.Path(name).resolve() for name in sys.argv[2:]] or sorted(sources.commands)
    tools = tool_hash()
    check_eyesight()
    todo = []
    for path in wanted:
        key = hashlib.sha256(f"{tools} {path.relative_to(ROOT)} {sources.commands[path]}".encode())
        for header in sources.closure(path):
            key.update(f"{header.name} {sources.includes(header)[1]}\n".encode())
        stamp = passed / key.hexdigest()[:40]
        if not stamp.exists():
            todo.append((path, stamp))
    print(f"tidy: {len(todo)} of {len(wanted)} sources to read", flush=True)
    bad, seen = 0, set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        began = time.monotonic()
        for (path, stamp), found in zip(todo, pool.map(lambda one: check(sources, build, one[0]), todo)):
            if not found:
                stamp.touch()
                continue
            bad += 1
            for text in found:
                # A header's fault is told once.
                if text not in seen:
                    print(text, flush=True)
                seen.add(text)
    if bad:
        sys.exit(f"tidy: {bad} sources with findings")
    print(f"tidy: clean, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
