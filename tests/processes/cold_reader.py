"""One process that reads a file from end to end and compares its bytes: `cold_reader.py ADDRESS TOKEN PATH BYTES EVERY`.

Each EVERYth block is compared (1: all): where processes outnumber cores, what one compares is time that another waits.

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
    address, token, path, size, every = sys.argv[1:]
    ctx = Ctx(address, "gd2fs-cluster0", token, buffer_bytes=PIECE)
    ctypes.memset(ctx.buffer, 1, PIECE)  # a fresh page costs more than the copy of its bytes
    memcmp = ctypes.CDLL(None).memcmp
    memcmp.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    memory = ctypes.addressof(ctx.buffer)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    reading = 0.0
    for offset in range(0, int(size), PIECE):
        started = time.monotonic()
        assert ctx._transfer(1, path, offset, PIECE) == PIECE
        reading += time.monotonic() - started
        for at in range(0, PIECE, BLOCK * int(every)):
            if memcmp(memory + at, pattern((offset + at) // BLOCK), BLOCK) != 0:
                sys.exit(f"wrong bytes at {offset + at}")
    print(time.monotonic() - begin, reading, flush=True)
    ctx.close()


if __name__ == "__main__":
    main()
