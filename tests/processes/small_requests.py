"""A client with hundreds of small requests under way at once: small_requests.py ADDRESS CLUSTER TOKEN PATH EXPECTED TIMEOUT_MS.

Each of THREADS threads, with a ctx of its own, writes a piece and reads it back, and reads the file PATH in small pieces, all of which it asks
for before it waits for the first. The bytes of the file are those of the local file EXPECTED. Says "ok" if all were right, or what was not.
"""
import ctypes
import os
import pathlib
import sys
import threading

import library

THREADS = 3
REQUESTS = 100  # of each thread
SMALL = 48 << 10
WRITTEN = 256 << 10


def run(address, cluster, token, path, expected, timeout_ms, number):
    ctx = library.Ctx(address, cluster, token, timeout_ms=timeout_ms, buffer_bytes=len(expected), log_level="warn")
    data = expected[number:number + WRITTEN]
    copy = f"{path}.{os.getpid()}.{number}"
    ctx.create(copy)
    ctx.write(copy, 0, data)
    if ctx.read(copy, 0, WRITTEN) != data:
        return "what was written is not what is read"
    ctypes.memset(ctx.buffer, 0, len(expected))
    for request in range(REQUESTS):
        sge = library.Sge(addr=ctypes.addressof(ctx.buffer) + request * SMALL, len=SMALL, iomem=ctx.iomem)
        op = library.Op(opcode=library.READ, id=request + 1, filepath=path.encode(), off=request * SMALL, sges=ctypes.pointer(sge), nsge=1)
        if ctx.library.xfer_gd2fs_submit(ctx.ctx, None, ctypes.byref(op)) != SMALL:
            return f"request {request} was not taken"
    for _ in range(REQUESTS):
        done = library.Completion()
        if ctx.library.xfer_gd2fs_wait(ctx.ctx, ctypes.byref(done), 1, 60000) != 1:
            return "a request outlives its timeout"
        if done.status or done.value != SMALL:
            return f"request {done.id - 1}: status {done.status:#x}, {done.value} bytes"
    if ctx.buffer.raw != expected:
        return "wrong bytes"
    ctx.close()
    return "ok"


def main():
    address, cluster, token, path, expected_path, timeout_ms = sys.argv[1:]
    expected = pathlib.Path(expected_path).read_bytes()
    assert len(expected) == REQUESTS * SMALL
    found = ["a thread died"] * THREADS

    def one(number):
        try:
            found[number] = run(address, cluster, token, path, expected, int(timeout_ms), number)
        except (library.Error, ConnectionError) as error:
            found[number] = f"error: {error}"

    threads = [threading.Thread(target=one, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [text for text in found if text != "ok"]
    print(wrong[0] if wrong else "ok")


if __name__ == "__main__":
    main()
