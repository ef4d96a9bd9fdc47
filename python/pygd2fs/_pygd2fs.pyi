import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

class _Array(Protocol):
    """A numpy array, or what can be made one."""

    def __array__(self) -> Any: ...

_Path = str | os.PathLike[str]
_Numbers = _Array | Sequence[int]

REQUESTS_MAX: int
SGES_MAX: int
STATUS_CLASS_SUCCESS: int
STATUS_CLASS_CLIENT: int
STATUS_CLASS_SERVER: int
STATUS_CLASS_TRANSPORT: int

def InspectStatus(status: int) -> tuple[bool, int, int, int]: ...
def _version() -> str: ...
def _python_ends() -> None: ...

class _Hold:
    @staticmethod
    def from_buffer(object: object, writable: bool) -> _Hold: ...
    @staticmethod
    def from_dlpack(capsule: object, writable: bool) -> _Hold: ...
    @staticmethod
    def from_address(address: int, length: int, owner: object) -> _Hold: ...
    @property
    def address(self) -> int: ...
    @property
    def length(self) -> int: ...

class IOMEM:
    """Memory that is registered with a Client, made by Client.RegIOMEM."""

    @property
    def address(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def device(self) -> int:
        """The GPU's ordinal; -1 for host memory."""
    @property
    def registered(self) -> bool: ...

class SGE:
    """A slice of registered memory, of any length and alignment."""

    def __init__(self, address: int, length: int, iomem: IOMEM) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def iomem(self) -> IOMEM: ...

class Request:
    """One operation. Hashable, equal to itself alone."""

    def Status(self) -> int:
        """0 is success; see InspectStatus. CLIENT, EINPROGRESS before."""
    def Value(self) -> int:
        """Bytes moved; 0 before the end and on failure."""
    def Done(self) -> bool:
        """Whether it has completed."""
    def Check(self) -> int:
        """The value, or OSError if it failed."""
    def Cancel(self) -> bool:
        """Asks for an early end; it still completes. False if it has completed."""
    def _result(self) -> Any: ...
    @property
    def operation(self) -> str: ...
    @property
    def filepath(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def desc(self) -> str: ...

class FileView:
    """Bytes of a file where they lie; a read-only buffer. See Client.View."""

    def Release(self) -> bool:
        """Gives the view back. True: all bytes were the file's until now. False: believe nothing
        of what was seen. BufferError while an array or memoryview of it is alive."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @property
    def zero_copy(self) -> bool: ...
    @property
    def released(self) -> bool: ...

class _Queue:
    def __init__(self, client: _Client) -> None: ...
    def fd(self) -> int: ...
    def reap(self, timeout_ms: int) -> list[Request]: ...
    def destroy(self) -> None: ...

class _Client:
    def __init__(
        self,
        cpaddr: str | None,
        dpaddr: str | None,
        cluster: str | None,
        iothreads: int,
        memthreads: int,
        streams: int,
        timeout: int,
        log_level: str | None,
    ) -> None: ...
    def RegIOMEM(self, address: int, length: int) -> IOMEM: ...
    def DeregIOMEM(self, iomem: IOMEM) -> None: ...
    def Read(
        self,
        filepath: _Path,
        offset: int,
        sges: Iterable[SGE],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> Request: ...
    def Write(
        self,
        filepath: _Path,
        offset: int,
        sges: Iterable[SGE],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> Request: ...
    def ReadV(
        self,
        filepath: _Path,
        offset: int,
        addresses: _Numbers,
        lengths: _Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> Request: ...
    def WriteV(
        self,
        filepath: _Path,
        offset: int,
        addresses: _Numbers,
        lengths: _Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int = 0,
        desc: str = "",
        *,
        stream: object = None,
    ) -> Request: ...
    def Wait(self, timeout_ms: int) -> list[Request]: ...
    def GetFd(self) -> int: ...
    def Counters(self) -> dict[str, int]: ...
    def InFlight(self) -> int: ...
    def _register(self, hold: _Hold) -> IOMEM: ...
    def _transfer(
        self,
        queue: _Queue | None,
        opcode: int,
        filepath: _Path,
        offset: int,
        sges: Iterable[SGE],
        flags: int,
        desc: str,
        stream: object = None,
    ) -> Request: ...
    def _transfer_batch(
        self,
        queue: _Queue | None,
        opcode: int,
        filepaths: _Path | Sequence[_Path],
        offsets: _Numbers | int,
        addresses: _Numbers,
        lengths: _Numbers | int,
        iomem: IOMEM | Sequence[IOMEM],
        flags: int,
        desc: str,
        into: list[Request],
        stream: object = None,
    ) -> int: ...
    def _call_transfer(
        self,
        opcode: int,
        filepath: _Path,
        offset: int,
        sges: Iterable[SGE],
        stream: object = None,
    ) -> Request: ...
    def View(self, filepath: _Path, offset: int, length: int) -> FileView:
        """Looks at bytes of a file. On the server's host, and if they lie in its cache as one piece,
        without a copy. The server may use that memory for something else at any time: work on the
        bytes, then Release(), and believe the result only if it says True."""
    def _name(
        self,
        queue: _Queue | None,
        opcode: int,
        path: _Path,
        other: _Path | None,
        size: int,
        entries: int,
    ) -> Request: ...
    def _call_name(
        self, opcode: int, path: _Path, other: _Path | None, size: int, entries: int
    ) -> Request: ...
    def _advise(
        self, queue: _Queue | None, path: _Path, advice: int, offset: int, length: int
    ) -> Request: ...
    def _call_advise(self, path: _Path, advice: int, offset: int, length: int) -> Request: ...
    def _set_pin(self, queue: _Queue | None, path: _Path, pin: bool) -> Request: ...
    def _call_set_pin(self, path: _Path, pin: bool) -> Request: ...
    def _close(self) -> None: ...
    def _closed(self) -> bool: ...
    def _reaped(self) -> int: ...
    def _set_on_reaped(self, function: Callable[[int], None] | None) -> None: ...
