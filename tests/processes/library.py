"""libgd2fs through ctypes: what the tests need of <xfer/gd2fs.h>, with calls that wait.

One Ctx may be used by one thread.
"""
import ctypes
import errno
import os

from deployment import ROOT

LIBRARY = os.environ.get("GD2FS_LIB", str(ROOT / "build/lib/libgd2fs.so"))
DATA_ADDRESS = os.environ.get("GD2FS_DPADDR", "tcp://127.0.0.1").encode()
READ, WRITE, STAT, CREATE, UNLINK, RENAME, MKDIR, RMDIR, TRUNCATE, FSYNC, READDIR = range(1, 12)
CLASS_TRANSPORT = 3

p, u64, u32, u16, u8, text = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint16, ctypes.c_uint8,
                              ctypes.c_char_p)


class Options(ctypes.Structure):
    _fields_ = [("cp_address", text), ("dp_address", text), ("cluster_id", text), ("iothread_count", u32),
                ("memthread_count", u32), ("conn_stream_count", u32), ("timeout", u32), ("log_level", text),
                ("reserved", u64 * 16)]


class Sge(ctypes.Structure):
    _fields_ = [("addr", p), ("len", u64), ("iomem", p)]


class Stat(ctypes.Structure):
    _fields_ = [("size", u64), ("inode", u64), ("generation", u64), ("chunk_bytes", u64), ("mtime_us", u64),
                ("ctime_us", u64), ("type", u32), ("reserved0", u32), ("reserved", u64 * 16)]


class Dirent(ctypes.Structure):
    _fields_ = [("size", u64), ("mtime_us", u64), ("inode", u64), ("type", u32), ("reserved0", u32),
                ("name", ctypes.c_char * 256)]


class Op(ctypes.Structure):
    _fields_ = [("opcode", u16), ("flags", u16), ("nsge", u16), ("reserved0", u16), ("id", p), ("filepath", text),
                ("other", text), ("off", u64), ("size", u64), ("sges", ctypes.POINTER(Sge)),
                ("stat", ctypes.POINTER(Stat)), ("entries", ctypes.POINTER(Dirent)), ("nentries", u32),
                ("reserved1", u32), ("request", p), ("reserved", u64 * 16)]


class Completion(ctypes.Structure):
    _fields_ = [("id", p), ("value", u64), ("status", u16), ("reserved", u8 * 6)]


assert ctypes.sizeof(Options) == 176 and ctypes.sizeof(Op) == 216 and ctypes.sizeof(Completion) == 24


def load():
    library = ctypes.CDLL(LIBRARY)
    for name, result, arguments in [
            ("xfer_gd2fs_connect", p, [ctypes.POINTER(Options)]), ("xfer_gd2fs_close", ctypes.c_int, [p]),
            ("xfer_gd2fs_last_error", text, []), ("xfer_gd2fs_reg_iomem", p, [p, p, ctypes.c_size_t, p]),
            ("xfer_gd2fs_submit", ctypes.c_ssize_t, [p, p, ctypes.POINTER(Op)]),
            ("xfer_gd2fs_wait", ctypes.c_int, [p, ctypes.POINTER(Completion), ctypes.c_int, ctypes.c_int])]:
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


class Error(Exception):
    """An operation that failed. `outcome_known`: it surely did not happen."""

    def __init__(self, status, path):
        self.code = status & 0xFF
        self.who = status >> 8 & 7
        super().__init__(f"{path}: {errno.errorcode.get(self.code, self.code)}, class {self.who}")

    @property
    def outcome_known(self):
        return self.who != CLASS_TRANSPORT


class Ctx:
    def __init__(self, address, cluster, token_file, timeout_ms=60000, buffer_bytes=1 << 20, log_level="error"):
        os.environ["GD2FS_TOKEN_FILE"] = str(token_file)
        self.library = load()
        options = Options(cp_address=address.encode(), dp_address=DATA_ADDRESS, cluster_id=cluster.encode(),
                          timeout=timeout_ms, log_level=log_level.encode())
        self.ctx = self.library.xfer_gd2fs_connect(ctypes.byref(options))
        if not self.ctx:
            raise ConnectionError(self.library.xfer_gd2fs_last_error().decode())
        self.buffer = ctypes.create_string_buffer(buffer_bytes)
        self.iomem = self.library.xfer_gd2fs_reg_iomem(self.ctx, self.buffer, buffer_bytes, None)
        assert self.iomem

    def close(self):
        assert self.library.xfer_gd2fs_close(self.ctx) == 0

    def call(self, opcode, path, **fields):
        op = Op(opcode=opcode, id=1, filepath=path.encode(), **fields)
        accepted = self.library.xfer_gd2fs_submit(self.ctx, None, ctypes.byref(op))
        if accepted < 0:
            raise Error(1 << 8 | -accepted, path)
        done = Completion()
        reaped = self.library.xfer_gd2fs_wait(self.ctx, ctypes.byref(done), 1, -1)
        assert reaped == 1, reaped
        if done.status:
            raise Error(done.status, path)
        return done.value

    def _transfer(self, opcode, path, offset, length):
        sge = Sge(addr=ctypes.addressof(self.buffer), len=length, iomem=self.iomem)
        return self.call(opcode, path, off=offset, sges=ctypes.pointer(sge), nsge=1)

    def write(self, path, offset, data):
        self.buffer[:len(data)] = data
        assert self._transfer(WRITE, path, offset, len(data)) == len(data)

    def read(self, path, offset, length):
        return self.buffer[:self._transfer(READ, path, offset, length)]

    def read_all(self, path):
        size = self.size(path)
        data = b""
        while len(data) < size:
            part = self.read(path, len(data), min(len(self.buffer), size - len(data)))
            assert part, f"{path}: short at {len(data)} of {size}"
            data += part
        return data

    def size(self, path):
        stat = Stat()
        self.call(STAT, path, stat=ctypes.pointer(stat))
        return stat.size

    def create(self, path, size=0):
        self.call(CREATE, path, size=size)

    def unlink(self, path):
        self.call(UNLINK, path)

    def rename(self, path, other):
        self.call(RENAME, path, other=other.encode())

    def mkdir(self, path):
        self.call(MKDIR, path)

    def truncate(self, path, size):
        self.call(TRUNCATE, path, size=size)

    def list(self, path):
        entries = (Dirent * 100)()
        names = []
        while True:
            after = names[-1].encode() if names else None
            filled = self.call(READDIR, path, other=after, entries=entries, nentries=100)
            names += [entries[i].name.decode() for i in range(filled)]
            if filled < 100:
                return names
