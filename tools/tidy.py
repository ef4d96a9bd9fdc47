#!/usr/bin/env python3
"""Runs clang-tidy-19 over our sources, and looks in every coroutine for what g++ 12 destroys twice.

    tools/tidy.py BUILD_FOLDER [FILE...]

The build folder is one configured with clang (its compile commands are used); without FILE, every source in it that is
not a test is tidied, and every source with a coroutine, tests included, is looked through (docs/decisions/015). Most of
the time goes into the standard library's headers, so sources with the same flags are read several at a time, as one
translation unit; those that do not compile together (two have a name in common) are read apart. A source that passed is
not read again until it, a header of ours under it, its flags, the profile or these tools change: what passed lies by
content in ~/.cache/gd2fs/tidy-passed, for all clones on this machine. GD2FS_TIDY_DEEP=1 lets the analyzer follow every
call, which takes four times as long.
"""
import collections
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
QUERY = TOOLS / "coroutine_temporaries.query"
CASES = TOOLS / "coroutine_temporaries.cc"
TOGETHER = TOOLS / "tidy_together.cc"  # what must be found in a source that is read with others
PROFILES = (ROOT / ".clang-tidy", ROOT / "tests/abi/.clang-tidy")
BATCH = 8
TIDIED = ("src/", "sim/", "bench/", "tests/abi/")
DEEP = os.environ.get("GD2FS_TIDY_DEEP", "0") == "1"
SHALLOW = () if DEEP else ("-analyzer-config", "mode=shallow")
# Sources that are read together count as headers.
ANALYZER = [f"--extra-arg={word}" for option in ("-analyzer-opt-analyze-headers", *SHALLOW) for word in ("-Xclang", option)]
FINDING = re.compile(r"^(/\S+?):\d+:\d+: (?:warning|error): ", re.M)
TWICE = re.compile(r'^(\S+):(\d+):\d+: note: "twice" binds here$', re.M)


class Sources:
    """Our sources and what they include of ours."""

    def __init__(self, build):
        self.roots = [ROOT, ROOT / "src", ROOT / "include", build / "generated"]
        self.build = build
        self.commands = {}
        self.words = {}
        for entry in json.loads((build / "compile_commands.json").read_text()):
            path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
            if path.is_relative_to(ROOT) and not path.is_relative_to(build):
                self.words[path] = entry["command"]
                self.commands[path] = entry["command"].replace(str(ROOT), "")
        self.read = {}

    def flags(self, path):
        """Of its compile command, those that say how it is read."""
        words = shlex.split(self.words[path])
        kept = []
        for word, before in zip(words, ["", *words]):
            if before in ("-o", "-MF", "-MT", "-MQ") or word in ("-o", "-c", "-MD", "-MMD", "-MF", "-MT", "-MQ"):
                continue
            if word.startswith("-") or before in ("-isystem", "-include", "-I"):
                kept.append(word)
        return kept

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
    for path in (*PROFILES, pathlib.Path(__file__), QUERY):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def run(command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def tidy(arguments):
    """What clang-tidy says, or nothing."""
    done = run(["clang-tidy-19", "--quiet", "--checks=-bugprone-suspicious-include", *ANALYZER, *arguments])
    return "" if done.returncode == 0 else done.stdout.strip() or done.stderr.strip()


def look_through(arguments):
    """The lines at which a coroutine has a temporary that g++ 12 destroys twice."""
    done = run(["clang-query-19", "-f", QUERY, *arguments])
    if done.returncode != 0 or re.search(r"\berror:|^\d+:\d+: ", done.stdout + done.stderr, re.M):
        sys.exit(f"tidy: clang-query failed on {arguments}\n{done.stdout}\n{done.stderr}")
    return sorted({(path, int(line)) for path, line in TWICE.findall(done.stdout)})


def check_eyesight(build):
    marked = {number for number, line in enumerate(CASES.read_text().splitlines(), 1) if "// twice" in line}
    found = {line for _, line in look_through([CASES, "--", "-std=c++23"])}
    if found != marked:
        sys.exit(f"tidy: of the cases in {CASES.name}, lines {sorted(marked)}, the query finds {sorted(found)}")
    marked = set(re.findall(r"// (\S+)$", TOGETHER.read_text(), re.M))
    said = tidy(["--header-filter=/tools/", together(build, "eyesight", [TOGETHER]), "--", "-std=c++23"])
    found = set(re.findall(r"\[([^],]+)", said))
    if not marked or not marked <= found:
        sys.exit(f"tidy: of the cases in {TOGETHER.name}, {sorted(marked)}, it finds {sorted(found)}")


def together(build, name, paths):
    """One source that is all of these."""
    whole = build / "tidy" / f"{name}{paths[0].suffix}"
    whole.parent.mkdir(exist_ok=True)
    whole.write_text("".join(f'#include "{path}"\n' for path in paths))
    return whole


def is_tidied(path):
    return str(path.relative_to(ROOT)).startswith(TIDIED) and not is_test(path)


def is_alone(path):
    """Read by itself: with a profile of its own, or with what there can be one of."""
    return path.suffix != ".cc" or not is_tidied(path) or re.search(rb"^int main\(", path.read_bytes(), re.M)


def batches(sources, paths):
    """Lists of sources that may be read together."""
    found, by_flags = [], collections.defaultdict(list)
    for path in paths:
        if is_alone(path):
            found.append([path])
        else:
            by_flags[tuple(sources.flags(path))].append(path)
    for same in by_flags.values():
        found += [same[at:at + BATCH] for at in range(0, len(same), BATCH)]
    return sorted(found, key=len, reverse=True)


def check(sources, build, paths, name):
    """What is wrong with which source. A header's fault is that of all who were read with it."""
    if len(paths) == 1:
        arguments = ["-p", build, paths[0]]
    else:
        arguments = [together(build, name, paths), "--", *sources.flags(paths[0])]
    found = collections.defaultdict(list)
    if is_tidied(paths[0]):
        said = tidy(arguments)
        if "[clang-diagnostic-error]" in said and len(paths) > 1:
            half = len(paths) // 2
            return {**check(sources, build, paths[:half], name + "a"), **check(sources, build, paths[half:], name + "b")}
        at = {pathlib.Path(path) for path in FINDING.findall(said)}
        for path in (at if at and at <= set(paths) else paths) if said else ():
            found[path].append(said)
    if any(sources.includes(path)[2] for path in paths):
        for file, line in look_through(arguments):
            for path in [pathlib.Path(file)] if pathlib.Path(file) in paths else paths:
                found[path].append(f"{file}:{line}: g++ 12 destroys a temporary of this co_await twice: give it a name "
                                   "first (docs/decisions/015)")
    return found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    sources = Sources(build)
    passed = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "gd2fs/tidy-passed"
    passed.mkdir(parents=True, exist_ok=True)
    wanted = [pathlib.Path(name).resolve() for name in sys.argv[2:]] or sorted(sources.commands)
    tools = tool_hash()
    check_eyesight(build)
    todo = {}
    for path in wanted:
        key = hashlib.sha256(f"{tools} {path.relative_to(ROOT)} {sources.commands[path]}".encode())
        for header in sources.closure(path):
            key.update(f"{header.name} {sources.includes(header)[1]}\n".encode())
        stamp = passed / key.hexdigest()[:40]
        if not stamp.exists():
            todo[path] = stamp
    print(f"tidy: {len(todo)} of {len(wanted)} sources to read", flush=True)
    bad, seen = 0, set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        began = time.monotonic()
        found = batches(sources, [path for path in todo if is_tidied(path) or sources.includes(path)[2]])
        names = (f"batch-{number}" for number in itertools.count())
        for paths, wrong in zip(found, pool.map(lambda batch: check(sources, build, batch, next(names)), found)):
            for path in paths:
                if path not in wrong:
                    todo[path].touch()
                    continue
                bad += 1
                # A header's fault is told once.
                for text in wrong[path]:
                    if text not in seen:
                        print(text, flush=True)
                    seen.add(text)
    if bad:
        sys.exit(f"tidy: {bad} sources with findings")
    print(f"tidy: clean, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
