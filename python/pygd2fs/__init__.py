"""GD2FS from Python: read and write files of a GD2FS cluster, asynchronously, into memory of yours.

    import pygd2fs

    with pygd2fs.Client("gd2fs://127.0.0.1:7527", "tcp://127.0.0.1", "gd2fs-cluster0") as client:
        client.write_from("/hello", b"hello, world")
        buffer = bytearray(12)
        client.read_into("/hello", buffer)

docs/api.md has the whole interface. Host memory only in this version.
"""

from ._names import DirEntry, FileStat, FileType
from ._pygd2fs import (
    IOMEM,
    REQUESTS_MAX,
    SGE,
    SGES_MAX,
    STATUS_CLASS_CLIENT,
    STATUS_CLASS_SERVER,
    STATUS_CLASS_SUCCESS,
    STATUS_CLASS_TRANSPORT,
    FileView,
    InspectStatus,
    Request,
    _version,
)
from .client import BatchError, Client

__version__ = _version()

__all__ = [
    "IOMEM",
    "REQUESTS_MAX",
    "SGE",
    "SGES_MAX",
    "STATUS_CLASS_CLIENT",
    "STATUS_CLASS_SERVER",
    "STATUS_CLASS_SUCCESS",
    "STATUS_CLASS_TRANSPORT",
    "BatchError",
    "Client",
    "DirEntry",
    "FileStat",
    "FileType",
    "FileView",
    "InspectStatus",
    "Request",
    "__version__",
]
