"""Client: a connection to one GD2FS cluster."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from . import _names
from ._loop_queue import LoopQueues
from ._memory import hold
from ._names import ENTRIES_PER_REQUEST, DirEntry, FileStat
from ._pygd2fs import IOMEM, SGE, Request, _Client, _python_ends, _Queue

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._pygd2fs import _Numbers as Numbers
    from ._pygd2fs import _Path as Path


class BatchError(OSError):
    """The library refused a request of a batch. `requests` are those before it, which are in flight and
    will be handed out by Wait."""

    def __init__(self, error: OSError, requests: list[Request]) -> None:
        super().__init__(error.errno, error.strerror, error.filename)
        self.requests = requests


class Client(_Client):
    """A connection to one cluster. All methods may be called from any thread.

    Addresses and the cluster's name default to GD2FS_CPADDR, GD2FS_DPADDR and GD2FS_CLUSTER, then to a
    `gd2fs up` on this machine. The counts are floors: the library opens more where it is faster.
    `stream=` of a call orders it after what is queued on that CUDA stream now (an int, a torch or cupy
    stream); for GPU memory torch's current stream is the default, if torch is loaded.
    `timeout` is in milliseconds without progress; log_level is "info", "warn" or "error".
    ConnectionError if the cluster cannot be reached or refuses."""

    def __init__(
        self,
        cpaddr: str | None = None,
        dpaddr: str | None = None,
        cluster: str | None = None,
        iothreads: int = 0,
        memthreads: int = 0,
        streams: int = 0,
        timeout: int = 0,
        log_level: str | None = None,
    ) -> None:
        super().__init__(
            cpaddr, dpaddr, cluster, iothreads, memthreads, streams, timeout, log_level
        )
        self._loops = LoopQueues()
        self._closing = threading.RLock()
        self._process = os.getpid()
        _open_clients.add(self)

    # --- the end ---

    def close(self) -> None:
        """Cancels what is in flight and returns when no peer can touch any buffer. Requests end with
        ECANCELED, threads in Wait get OSError(ECANCELED), but for daemon threads at the end of Python:
        those stay in Wait."""
        with self._closing:  # a second caller, too, returns only when it is done
            if self._closed():
                return
            self._close()
            # A child of fork() shares its parent's loops: it must not touch them.
            if os.getpid() == self._process:
                self._loops.close()

    @property
    def closed(self) -> bool:
        return self._closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if "_process" in self.__dict__ and not self._closed():
            if os.getpid() == self._process:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    # --- memory ---

    def RegBuffer(self, target: object, *, writable: bool = True) -> IOMEM:
        """Registers the memory of an object (see read_into) and keeps the object alive until
        DeregIOMEM."""
        return self._register(hold(target, writable=writable))

    # --- bytes, by object ---

    def read_into(
        self, path: Path, target: object, offset: int = 0, *, stream: object = None
    ) -> int:
        """Fills an object's memory from a file, from `offset` on: a torch tensor of the CPU or of a CUDA GPU,
        a numpy array, or anything with the buffer protocol, DLPack or __cuda_array_interface__. Returns the bytes read, fewer than asked only at
        the end of the file."""
        return self._move(_names.OP_READ, path, target, offset, stream)

    def write_from(
        self, path: Path, source: object, offset: int = 0, *, stream: object = None
    ) -> int:
        """Writes an object's memory into a file, which is created if it is not there. Returns the bytes
        written: all of them."""
        return self._move(_names.OP_WRITE, path, source, offset, stream)

    def _move(
        self, opcode: int, path: Path, target: object, offset: int, stream: object
    ) -> int:
        iomem, sge = self._whole(target, writable=opcode == _names.OP_READ)
        try:
            return self._call_transfer(opcode, path, offset, [sge], stream).Check()
        finally:
            self.DeregIOMEM(iomem)

    async def read_into_async(
        self, path: Path, target: object, offset: int = 0, *, stream: object = None
    ) -> int:
        """read_into for asyncio."""
        return await self._move_async(_names.OP_READ, path, target, offset, stream)

    async def write_from_async(
        self, path: Path, source: object, offset: int = 0, *, stream: object = None
    ) -> int:
        """write_from for asyncio."""
        return await self._move_async(_names.OP_WRITE, path, source, offset, stream)

    async def _move_async(
        self, opcode: int, path: Path, target: object, offset: int, stream: object
    ) -> int:
        iomem, sge = self._whole(target, writable=opcode == _names.OP_READ)
        try:
            return (
                await self._transfer_async(opcode, path, offset, [sge], 0, "", stream)
            ).Check()
        finally:
            self.DeregIOMEM(iomem)

    def _whole(self, target: object, *, writable: bool) -> tuple[IOMEM, SGE]:
        memory = hold(target, writable=writable)
        # An empty range cannot be registered; an empty slice of something can be moved.
        iomem = self._register(memory if memory.length else hold(bytearray(1), writable=True))
        return iomem, SGE(iomem.address, memory.length, iomem)

    # --- bytes, many requests at once ---

    def ReadBatch(
        self,
        filepath: Path | Sequence[Path],
        offsets: Numbers | int,
        addresses: Numbers,
        lengths: Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> list[Request]:
        """One read per row: row i reads lengths[i] bytes at offsets[i] of its file to addresses[i].
        Arrays are numpy arrays or sequences of ints; a single path, offset, length or iomem stands for
        all rows. The requests are handed out by Wait. BatchError if the library refuses one."""
        return self._batch(
            _names.OP_READ, filepath, offsets, addresses, lengths, iomem, flags, desc, stream
        )

    def WriteBatch(
        self,
        filepath: Path | Sequence[Path],
        offsets: Numbers | int,
        addresses: Numbers,
        lengths: Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> list[Request]:
        """One write per row; arguments as for ReadBatch."""
        return self._batch(
            _names.OP_WRITE, filepath, offsets, addresses, lengths, iomem, flags, desc, stream
        )

    def _batch(
        self,
        opcode: int,
        filepath: Path | Sequence[Path],
        offsets: Numbers | int,
        addresses: Numbers,
        lengths: Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int,
        desc: str,
        stream: object,
    ) -> list[Request]:
        requests: list[Request] = []
        try:
            self._transfer_batch(
                None,
                opcode,
                filepath,
                offsets,
                addresses,
                lengths,
                iomem,
                flags,
                desc,
                requests,
                stream,
            )
        except OSError as error:
            raise BatchError(error, requests) from None
        return requests

    async def ReadBatchAsync(
        self,
        filepath: Path | Sequence[Path],
        offsets: Numbers | int,
        addresses: Numbers,
        lengths: Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> list[Request]:
        """ReadBatch for asyncio: returns when all have completed."""
        return await self._run(
            lambda queue, requests: self._transfer_batch(
                queue, _names.OP_READ, filepath, offsets, addresses, lengths, iomem, flags, desc, requests,
                stream,
            )
        )  # fmt: skip

    async def WriteBatchAsync(
        self,
        filepath: Path | Sequence[Path],
        offsets: Numbers | int,
        addresses: Numbers,
        lengths: Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> list[Request]:
        """WriteBatch for asyncio: returns when all have completed."""
        return await self._run(
            lambda queue, requests: self._transfer_batch(
                queue, _names.OP_WRITE, filepath, offsets, addresses, lengths, iomem, flags, desc, requests,
                stream,
            )
        )  # fmt: skip

    # --- bytes, from an event loop ---

    async def ReadAsync(
        self,
        filepath: Path,
        offset: int,
        sges: Iterable[SGE],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> Request:
        """A read that this event loop waits for; Wait never hands it out. Returns the request, whatever
        its status. When more are started than the library takes they wait for their turn.

        Cancelled, it raises when no peer can touch its memory any more."""
        return await self._transfer_async(
            _names.OP_READ, filepath, offset, sges, flags, desc, stream
        )

    async def WriteAsync(
        self,
        filepath: Path,
        offset: int,
        sges: Iterable[SGE],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> Request:
        """A write that this event loop waits for; as ReadAsync."""
        return await self._transfer_async(
            _names.OP_WRITE, filepath, offset, sges, flags, desc, stream
        )

    async def _transfer_async(
        self,
        opcode: int,
        filepath: Path,
        offset: int,
        sges: Iterable[SGE],
        flags: int,
        desc: str,
        stream: object,
    ) -> Request:
        requests = await self._run(
            lambda queue, requests: requests.append(
                self._transfer(queue, opcode, filepath, offset, sges, flags, desc, stream)
            )
        )
        return requests[0]

    async def _run(self, start: Callable[[_Queue, list[Request]], object]) -> list[Request]:
        """Submits what start(queue, requests) submits, and waits for it."""
        loop_queue = self._loops.of_running_loop(self)
        requests: list[Request] = []

        def start_here() -> object:
            return start(loop_queue.queue, requests)

        try:
            if not self._loops.try_submit(self, start_here):
                await self._loops.submit(self, start_here)
        except BaseException:
            await loop_queue.cancel(requests)  # a batch may be in flight in part
            raise
        await loop_queue.ended(requests)
        return requests

    # --- names ---

    def Stat(self, path: Path) -> FileStat:
        """Size, type, times and inode of a file or folder. FileNotFoundError if it is not there."""
        return _names.file_stat(self._call_name(_names.OP_STAT, path, None, 0, 0))

    def Create(self, path: Path, size: int = 0) -> None:
        """Creates a file of `size` zero bytes. FileExistsError if it is there: of several who race to
        create it, one succeeds."""
        self._call_name(_names.OP_CREATE, path, None, size, 0).Check()

    def Unlink(self, path: Path) -> None:
        """Removes a file."""
        self._call_name(_names.OP_UNLINK, path, None, 0, 0).Check()

    def Rename(self, path: Path, newpath: Path) -> None:
        """Renames a file or folder; a file at newpath is replaced, atomically."""
        self._call_name(_names.OP_RENAME, path, newpath, 0, 0).Check()

    def Mkdir(self, path: Path) -> None:
        """Makes a folder."""
        self._call_name(_names.OP_MKDIR, path, None, 0, 0).Check()

    def Rmdir(self, path: Path) -> None:
        """Removes an empty folder."""
        self._call_name(_names.OP_RMDIR, path, None, 0, 0).Check()

    def Truncate(self, path: Path, size: int) -> None:
        """Cuts a file, or extends it with zeros."""
        self._call_name(_names.OP_TRUNCATE, path, None, size, 0).Check()

    def Fsync(self, path: Path) -> None:
        """Returns when all that was written before is durable on the drives."""
        self._call_name(_names.OP_FSYNC, path, None, 0, 0).Check()

    def Readdir(self, path: Path) -> list[DirEntry]:
        """All entries of a folder, in byte order of their names."""
        entries: list[DirEntry] = []
        while True:
            after = entries[-1].name if entries else None
            request = self._call_name(_names.OP_READDIR, path, after, 0, ENTRIES_PER_REQUEST)
            entries += _names.dir_entries(request)
            if request.Value() < ENTRIES_PER_REQUEST:
                return entries

    # --- the servers' memory ---

    def Prefetch(self, path: Path, offset: int = 0, length: int = 0) -> int:
        """Brings a range of a file (length 0: to its end) into the servers' memory, without moving it
        any further. How many of its bytes are there now."""
        return self._call_advise(path, _names.ADVICE_PREFETCH, offset, length).Check()

    def Resident(self, path: Path, offset: int = 0, length: int = 0) -> int:
        """How many bytes of a range of a file are in the servers' memory."""
        return self._call_advise(path, _names.ADVICE_QUERY, offset, length).Check()

    def Evict(self, path: Path) -> None:
        """Drops a file from the servers' memory, but for what is in use."""
        self._call_advise(path, _names.ADVICE_DROP, 0, 0).Check()

    def SetPinned(self, path: Path, pinned: bool = True) -> None:
        """Keeps what the servers have, or will have, of a file in their memory, or no longer. OSError
        (ENOSPC) when pinned files would take more than half of it."""
        self._call_set_pin(path, pinned).Check()

    async def _advise_async(self, path: Path, advice: int, offset: int, length: int) -> int:
        requests = await self._run(
            lambda queue, requests: requests.append(
                self._advise(queue, path, advice, offset, length)
            )
        )
        return requests[0].Check()

    async def PrefetchAsync(self, path: Path, offset: int = 0, length: int = 0) -> int:
        return await self._advise_async(path, _names.ADVICE_PREFETCH, offset, length)

    async def ResidentAsync(self, path: Path, offset: int = 0, length: int = 0) -> int:
        return await self._advise_async(path, _names.ADVICE_QUERY, offset, length)

    async def EvictAsync(self, path: Path) -> None:
        await self._advise_async(path, _names.ADVICE_DROP, 0, 0)

    async def SetPinnedAsync(self, path: Path, pinned: bool = True) -> None:
        requests = await self._run(
            lambda queue, requests: requests.append(self._set_pin(queue, path, pinned))
        )
        requests[0].Check()

    # --- names, from an event loop ---

    async def _name_async(
        self, opcode: int, path: Path, other: Path | None = None, size: int = 0, entries: int = 0
    ) -> Request:
        requests = await self._run(
            lambda queue, requests: requests.append(
                self._name(queue, opcode, path, other, size, entries)
            )
        )
        requests[0].Check()
        return requests[0]

    async def StatAsync(self, path: Path) -> FileStat:
        return _names.file_stat(await self._name_async(_names.OP_STAT, path))

    async def CreateAsync(self, path: Path, size: int = 0) -> None:
        await self._name_async(_names.OP_CREATE, path, size=size)

    async def UnlinkAsync(self, path: Path) -> None:
        await self._name_async(_names.OP_UNLINK, path)

    async def RenameAsync(self, path: Path, newpath: Path) -> None:
        await self._name_async(_names.OP_RENAME, path, newpath)

    async def MkdirAsync(self, path: Path) -> None:
        await self._name_async(_names.OP_MKDIR, path)

    async def RmdirAsync(self, path: Path) -> None:
        await self._name_async(_names.OP_RMDIR, path)

    async def TruncateAsync(self, path: Path, size: int) -> None:
        await self._name_async(_names.OP_TRUNCATE, path, size=size)

    async def FsyncAsync(self, path: Path) -> None:
        await self._name_async(_names.OP_FSYNC, path)

    async def ReaddirAsync(self, path: Path) -> list[DirEntry]:
        entries: list[DirEntry] = []
        while True:
            after = entries[-1].name if entries else None
            request = await self._name_async(
                _names.OP_READDIR, path, after, entries=ENTRIES_PER_REQUEST
            )
            entries += _names.dir_entries(request)
            if request.Value() < ENTRIES_PER_REQUEST:
                return entries


_open_clients: weakref.WeakSet[Client] = weakref.WeakSet()


@atexit.register
def _close_open_clients() -> None:
    """Python frees buffers when it ends; no peer may write to them then. Daemon threads stay in Wait."""
    _python_ends()
    for client in list(_open_clients):
        client.close()
