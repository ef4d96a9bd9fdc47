"""One process that reads a file from end to end and compares every byte: `cold_reader.py ADDRESS TOKEN PATH BYTES`.

Prints "ready", waits for a line on standard input, reads, and prints the seconds it took.
"""
import ctypes
import sys
import time

from library import Ctx

PIECE = 16 << 20
BLOCK = 1 << 20


def pattern(block):
    """The bytes of one block: its number, over and over."""
    return block.to_bytes(8, "little") * (BLOCK // 8)


def main():
    address, token, path, size = sys.argv[1:]
    ctx = Ctx(address, "gd2fs-cluster0", token, buffer_bytes=PIECE)
    ctypes.memset(ctx.buffer, 1, PIECE)  # a fresh page costs more than the copy of its bytes
    view = memoryview(ctx.buffer).cast("B")  # as bytes are compared: by number
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    reading = 0.0
    for offset in range(0, int(size), PIECE):
        started = time.monotonic()
        assert ctx._transfer(1, path, offset, PIECE) == PIECE
        reading += time.monotonic() - started
        for at in range(0, PIECE, BLOCK):
            if view[at:at + BLOCK] != pattern((offset + at) // BLOCK):
                sys.exit(f"wrong bytes at {offset + at}")
    print(time.monotonic() - begin, reading, flush=True)
    ctx.close()


if __name__ == "__main__":
    main()
