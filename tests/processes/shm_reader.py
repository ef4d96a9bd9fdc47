"""A client that reads a file again and again and looks at every byte: shm_reader.py ADDRESS CLUSTER TOKEN PATH SEED [PIECE_BYTES].

Says one line per read: "ok", "error NAME", or "WRONG" and why; then goes on.
"""
import errno
import random
import sys

import numpy

import library

PIECE = 8 << 20


def pattern(seed, offset, length):
    """The bytes of a file: every 8 bytes say whose they are and where."""
    words = numpy.arange(offset // 8, (offset + length) // 8, dtype=numpy.uint64)
    return words + numpy.uint64(seed << 40)


def write_file(ctx, path, seed, length, piece=PIECE):
    ctx.create(path, length)
    for offset in range(0, length, piece):
        ctx.write(path, offset, pattern(seed, offset, piece).tobytes())


def main():
    address, cluster, token, path, seed, *more = sys.argv[1:]
    piece = int(more[0]) if more else PIECE
    ctx = library.Ctx(address, cluster, token, timeout_ms=10000, buffer_bytes=piece)
    view = numpy.frombuffer(ctx.buffer, dtype=numpy.uint64)
    size = ctx.size(path)
    chosen = random.Random(1)
    while True:
        offset = chosen.randrange(size // piece) * piece
        view[:] = 0
        try:
            ctx._transfer(library.READ, path, offset, piece)
        except library.Error as error:
            print("error", errno.errorcode.get(error.code, error.code), flush=True)
            continue
        right = numpy.array_equal(view, pattern(int(seed), offset, piece))
        print("ok" if right else f"WRONG {path} at {offset}: {view[:4]}", flush=True)


if __name__ == "__main__":
    main()
