"""What is known of a file's or a folder's name: FileStat and DirEntry."""

from __future__ import annotations

import enum
from typing import NamedTuple

from ._pygd2fs import Request

# The opcodes of <xfer/gd2fs.h>.
OP_READ, OP_WRITE, OP_STAT, OP_CREATE, OP_UNLINK, OP_RENAME = 1, 2, 3, 4, 5, 6
OP_MKDIR, OP_RMDIR, OP_TRUNCATE, OP_FSYNC, OP_READDIR = 7, 8, 9, 10, 11
ADVICE_PREFETCH, ADVICE_QUERY, ADVICE_DROP = 1, 2, 3

# Names that one readdir request brings.
ENTRIES_PER_REQUEST = 1024


class FileType(enum.IntEnum):
    """What a name stands for."""

    FILE = 1
    DIRECTORY = 2


class FileStat(NamedTuple):
    """A file or folder, as Stat found it. Times are microseconds since 1970, UTC."""

    size: int
    inode: int
    generation: int
    chunk_bytes: int
    mtime_us: int
    ctime_us: int
    type: FileType
    pinned: bool = False

    @property
    def mtime(self) -> float:
        """Seconds since 1970 of the last change of contents."""
        return self.mtime_us / 1e6

    @property
    def ctime(self) -> float:
        """Seconds since 1970 of the creation."""
        return self.ctime_us / 1e6

    def is_file(self) -> bool:
        return self.type == FileType.FILE

    def is_dir(self) -> bool:
        return self.type == FileType.DIRECTORY


class DirEntry(NamedTuple):
    """One name in a folder, as Readdir found it."""

    name: str
    size: int
    type: FileType
    mtime_us: int
    inode: int

    @property
    def mtime(self) -> float:
        """Seconds since 1970 of the last change of contents."""
        return self.mtime_us / 1e6

    def is_file(self) -> bool:
        return self.type == FileType.FILE

    def is_dir(self) -> bool:
        return self.type == FileType.DIRECTORY


def file_stat(request: Request) -> FileStat:
    """What a completed stat found; OSError if it failed."""
    size, inode, generation, chunk_bytes, mtime_us, ctime_us, kind, pinned = request._result()
    return FileStat(
        size, inode, generation, chunk_bytes, mtime_us, ctime_us, FileType(kind), pinned
    )


def dir_entries(request: Request) -> list[DirEntry]:
    """What a completed readdir found; OSError if it failed."""
    return [
        DirEntry(name, size, FileType(kind), mtime_us, inode)
        for name, size, kind, mtime_us, inode in request._result()
    ]
