#!/usr/bin/env python3
"""Counts the instructions that a read of a server's slab over RDMA costs its server and its client.

    bench/rdma_cost.py [--top N] [--row BYTES,DEPTH,COUNT]... [BUILD_FOLDER]

Runs rdma_cost (bench/rdma_cost.cc) under valgrind's callgrind: a controller, a server and a client in one process over
fake NICs, every thread counted apart; once with COUNT reads and once with three times as many, so that the difference
is what 2 COUNT reads cost and nothing else. (Counting begins when the reads do: what the warm-up
costs is never twice the same.) What is counted are instructions of user space: all that the server's
thread (the client's threads) execute, less

  - what is executed inside the fake NICs' library: calls into that object, with all that they call (mutexes, memory).
    A real provider's ibv_post_send writes a descriptor of 64 bytes per work request and rings a doorbell; it is not ours
  - memcpy, memmove and memset, by name; the line `copied` says how much that was. No payload goes through them
  - what the reading program does by itself (fills in its requests, looks at its completions)

Of these, `turns` is what the loops' turns cost by themselves: what a loop executes to look for work (mail, timers, pollers,
the completion queue, fds), whether it finds some or not, and to sleep and come back; what it then runs is no part of it. It is
paid for each wake, however many requests that brings: with one request at a time nobody shares it. `looks` is how often the
completion queue was looked at for a request. A loop that spins before it sleeps looks in vain; how often depends on the machine and the day,
so with one request at a time compare what is left without `turns`.

System calls cost what they cost in the kernel, which callgrind does not see; they are counted by the line `sleeps`.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

MIB = 1 << 20
# Bytes of a read, requests at once, how many.
ROWS = [(4 * MIB, 1, 200), (4 * MIB, 8, 200), (1 * MIB, 8, 400), (4096, 1, 1000), (4096, 16, 2000)]
COPIES = re.compile(r"mem(cpy|move|set)")
FAKE = "libibverbs"
CALLER = "(anonymous namespace)::Deployment::"  # of bench/rdma_cost.cc
TURNS = re.compile(
    r"^(non-virtual thunk to )?gd2fs::("
    r"Loop::(turn|wait_for_work|spin_for_fds|run_fds|wait_for_fds|run_mail|run_timers|take_after_\w+|(run|arm|disarm)_pollers)"
    r"|RdmaPort::(poll|arm|take|on_event)|verbs::CompletionChannel::take_event|UringDisk::(poll|arm))\(")
LOOKS = re.compile(r"^gd2fs::RdmaPort::take\(")
SLEEPS = re.compile(r"^(epoll_wait|epoll_pwait2?|syscall)$")


class Dump:
    """One thread's part of callgrind's output: what functions cost by themselves, and the calls between them."""

    def __init__(self, path):
        self.own = collections.Counter()  # (object, function): instructions
        self.calls = collections.Counter()  # (object, function, object called, function called): instructions, inclusive
        self.times = collections.Counter()  # the same: calls
        names = collections.defaultdict(dict)

        def name(kind, text):
            number, _, rest = text.partition(" ")
            if not number.startswith("("):
                return text
            if rest:
                names[kind][number] = rest
            return names[kind][number]

        here = ["?", "?"]
        called = ["?", "?"]
        times = None
        with open(path, errors="replace") as lines:
            for line in lines:
                line = line.rstrip("\n")
                key, is_pair, value = line.partition("=")
                if is_pair and key == "ob":
                    here = [name("ob", value), here[1]]
                    called[0] = here[0]
                elif is_pair and key == "fn":
                    here = [here[0], name("fn", value)]
                    called = [here[0], "?"]
                elif is_pair and key == "cob":
                    called[0] = name("ob", value)
                elif is_pair and key == "cfn":
                    called[1] = name("fn", value)
                elif is_pair and key in ("fl", "fi", "fe", "cfi", "cfl"):
                    name("fl", value)
                elif is_pair and key == "calls":
                    times = int(value.split()[0])
                elif line[:1] in "+-*0123456789" and line[:1]:
                    fields = line.split()
                    cost = int(fields[-1]) if len(fields) > 1 else 0
                    if times is None:
                        self.own[tuple(here)] += cost
                    else:
                        self.calls[(*here, *called)] += cost
                        self.times[(*here, *called)] += times
                        times = None
                        called = [here[0], "?"]

    def has(self, text):
        return any(text in function for _, function in self.own)

    def whose(self):
        if self.has("fake_verbs::World::run"):
            return "nics"
        if self.has("gd2fs::RdmaServerSession::"):
            return "server"
        return "client" if self.has("gd2fs::client::") else "others"


class Side:
    def __init__(self, dumps):
        self.total = sum(sum(dump.own.values()) for dump in dumps)
        self.fake = self.copied = self.caller = self.turns = self.sleeps = self.looks = 0
        self.functions = collections.Counter()
        for dump in dumps:
            for (from_object, caller, to_object, to), cost in dump.calls.items():
                if FAKE in from_object:
                    continue
                if FAKE in to_object:
                    self.fake += cost
                elif COPIES.search(to):
                    self.copied += cost
                elif TURNS.match(caller) and "gd2fs::" not in to:  # epoll, the clock, liburing
                    self.turns += cost
            for (_, _, _, to), times in dump.times.items():
                if SLEEPS.match(to):
                    self.sleeps += times
                elif LOOKS.match(to):
                    self.looks += times
            for (where, function), cost in dump.own.items():
                if CALLER in function:
                    self.caller += cost
                elif FAKE not in where and not COPIES.search(function):
                    self.functions[function] += cost
                    if TURNS.match(function):
                        self.turns += cost
        self.ours = self.total - self.fake - self.copied - self.caller

    def less(self, other):
        """What this has more than the other."""
        for name in ("total", "fake", "copied", "turns", "sleeps", "looks", "ours"):
            setattr(self, name, getattr(self, name) - getattr(other, name))
        self.functions.subtract(other.functions)
        return self


def count(build, length, depth, reads):
    """{"server": Side, "client": Side} of a run with so many reads."""
    with tempfile.TemporaryDirectory(prefix="gd2fs-cost-") as place:
        done = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", "--fair-sched=yes", "--compress-strings=yes",
             "--zero-before=*Deployment::read*", f"--callgrind-out-file={place}/out", str(build / "bin/rdma_cost"), str(length), str(depth), str(reads)],
            env={"PATH": "/usr/bin:/bin", "GD2FS_VERBS_LIBRARY": str(build / "lib/fake_verbs/libibverbs.so.1")},
            capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"rdma_cost failed:\n{done.stdout}{done.stderr}")
        dumps = [Dump(path) for path in pathlib.Path(place).glob("out-*")]
    return {side: Side([dump for dump in dumps if dump.whose() == side]) for side in ("server", "client")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=int, default=0, help="also print the N functions that cost most by themselves")
    parser.add_argument("--row", action="append", help="BYTES,DEPTH,COUNT instead of the usual ones")
    parser.add_argument("build", nargs="?", default="build")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build).resolve()
    rows = [tuple(map(int, row.split(","))) for row in arguments.row] if arguments.row else ROWS
    print(f"{'read':>10} {'at once':>7} {'side':>7} {'per request':>12} {'of it turns':>12} {'per MiB':>9} "
          f"{'copied':>7} {'sleeps':>7} {'looks':>6}")
    for length, depth, reads in rows:
        few, many = count(build, length, depth, reads), count(build, length, depth, 3 * reads)
        reads *= 2
        for name, side in {name: many[name].less(few[name]) for name in few}.items():
            print(f"{length:>10} {depth:>7} {name:>7} {side.ours / reads:>12.0f} {side.turns / reads:>12.0f} "
                  f"{side.ours / reads * MIB / length:>9.0f} {side.copied / reads:>7.0f} {side.sleeps / reads:>7.2f} "
                  f"{side.looks / reads:>6.2f}", flush=True)
            for function, cost in side.functions.most_common(arguments.top):
                print(f"{cost / reads:>40.0f}  {function[:150]}")


if __name__ == "__main__":
    main()
