"""One process that reads a file from end to end and compares its bytes: `cold_reader.py ADDRESS TOKEN PATH BYTES EVERY`.

Each EVERYth block is compared (1: all): where processes outnumber cores, what one compares is time that another waits.
With "memory" for ADDRESS, PATH is a file in memory that is mapped and copied from: what the copies alone cost.

Prints "ready", waits for a line on standard input, reads, and prints the seconds it took.
"""
import ctypes
import mmap
import sys
import time

from library import Ctx

PIECE = 16 << 20
BLOCK = 1 << 20


def pattern(block):
    """The bytes of one block: its number, over and over."""
    return block.to_bytes(8, "little") * (BLOCK // 8)


class Memory:
    """A file in memory, read as a Ctx reads one of GD2FS."""

    def __init__(self, path, size):
        self.buffer = (ctypes.c_char * PIECE)()
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.begin = ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def _transfer(self, _operation, _path, offset, length):
        ctypes.memmove(self.buffer, self.begin + offset, length)
        return length

    def close(self):
        pass


def main():
    address, token, path, size, every = sys.argv[1:]
    ctx = Memory(path, int(size)) if address == "memory" else Ctx(address, "gd2fs-cluster0", token, buffer_bytes=PIECE)
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
