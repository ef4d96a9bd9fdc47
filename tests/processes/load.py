"""A mixed load that knows what must be there.

Each Worker is a thread with a ctx and files of its own, so that the expected contents are exact: every
operation that was acknowledged is in `files`. An operation whose outcome is not known (class TRANSPORT, the
deadline passed) makes its file *uncertain*: it may have happened or not, and the file is given up.
"""
import random
import threading

import library

BLOCK = 64 * 1024
FILE_MAX = 600_000


class Wrong(AssertionError):
    """Something acknowledged is not there, or something else is."""


class Worker(threading.Thread):
    def __init__(self, deployment, name, seed):
        super().__init__(name=name)
        self.ctx = library.Ctx(deployment.address, deployment.cluster, deployment.token_file)
        self.random = random.Random(seed)
        self.folder = "/" + name
        self.ctx.mkdir(self.folder)
        self.files = {}        # path -> bytes
        self.uncertain = set() # paths of which nothing is known
        self.made = 0
        self.acknowledged = 0
        self.failure = None
        self.stopping = threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except Exception as failure:  # told to the test by stop()
            self.failure = failure

    def stop(self):
        self.stopping.set()
        self.join(timeout=120)
        if self.is_alive():
            raise Wrong(f"{self.name}: an operation hangs")
        if self.failure is not None:
            raise self.failure

    def step(self):
        choices = [self.write_new, self.overwrite, self.overwrite, self.append, self.truncate, self.unlink, self.rename,
                   self.check_one]
        change = self.write_new if len(self.files) < 4 else self.random.choice(choices)
        path = self.random.choice(sorted(self.files)) if self.files else None
        try:
            change(path)
            self.acknowledged += 1
        except library.Error as error:
            if error.outcome_known:
                raise

    def data(self, length):
        return self.random.randbytes(length)

    def attempt(self, *paths):
        """What follows happens to these files: until it is acknowledged, nothing is known of them."""
        for path in paths:
            self.files.pop(path, None)
            self.uncertain.add(path)

    def keep(self, path, contents):
        self.uncertain.discard(path)
        self.files[path] = contents

    def write_new(self, _):
        self.made += 1
        path = f"{self.folder}/f{self.made}"
        contents = self.data(self.random.choice([0, 1, 4096, BLOCK, BLOCK + 1, 300_000]))
        self.attempt(path)
        if contents:
            self.ctx.write(path, 0, contents)
        else:
            self.ctx.create(path)
        self.keep(path, contents)

    def overwrite(self, path):
        old = self.files[path]
        offset = self.random.randrange(len(old) + 1)
        part = self.data(self.random.choice([1, 100, 4096, BLOCK, 200_000]))
        self.attempt(path)
        self.ctx.write(path, offset, part)
        self.keep(path, old[:offset] + part + old[offset + len(part):])

    def append(self, path):
        old = self.files[path]
        if len(old) > FILE_MAX:
            return self.truncate(path)
        gap = self.random.choice([0, 0, 1, BLOCK])
        part = self.data(self.random.choice([1, 4096, 100_000]))
        self.attempt(path)
        self.ctx.write(path, len(old) + gap, part)
        self.keep(path, old + bytes(gap) + part)

    def truncate(self, path):
        old = self.files[path]
        size = self.random.choice([0, 1, len(old) // 2, len(old), len(old) + 10_000])
        self.attempt(path)
        self.ctx.truncate(path, size)
        self.keep(path, old[:size] + bytes(max(0, size - len(old))))

    def unlink(self, path):
        self.attempt(path)
        self.ctx.unlink(path)
        self.uncertain.discard(path)

    def rename(self, path):
        old = self.files[path]
        self.made += 1
        other = self.random.choice([f"{self.folder}/f{self.made}"] + [each for each in self.files if each != path])
        self.attempt(path, other)
        self.ctx.rename(path, other)
        self.uncertain.discard(path)
        self.keep(other, old)

    def check_one(self, path):
        check_file(self.ctx, path, self.files[path])


def check_file(ctx, path, expected):
    found = ctx.read_all(path)
    if found == expected:
        return
    if len(found) != len(expected):
        raise Wrong(f"{path}: {len(found)} bytes, not {len(expected)}")
    at = next(i for i in range(len(found)) if found[i] != expected[i])
    raise Wrong(f"{path}: wrong from byte {at} of {len(found)} (block {at // BLOCK}): "
                f"{found[at:at + 8].hex()}, not {expected[at:at + 8].hex()}")


def check_worker(ctx, worker):
    """Every acknowledged byte and name is there, and nothing else but what is uncertain."""
    for path, contents in sorted(worker.files.items()):
        check_file(ctx, path, contents)
    there = {f"{worker.folder}/{name}" for name in ctx.list(worker.folder)}
    missing = set(worker.files) - there
    extra = there - set(worker.files) - worker.uncertain
    if missing or extra:
        raise Wrong(f"{worker.folder}: missing {sorted(missing)}, not removed {sorted(extra)}")
