"""What a client takes of the GPU's memory beside its targets and the context, and what of that the driver takes from anybody.

    gpu_vram.py BUILD_FOLDER

Each row is of a fresh process. `gd2fs` is a client of a `gd2fs up`. `plain` has nothing of GD2FS in it: it makes the same
context and targets, registers as much host memory of the same kinds (the server's own arenas among it, mapped
read-only as a client maps them) with the same flags, copies on one stream, and runs a small kernel on mapped memory. What the
first has more than the second, at any step, is GD2FS's own.
"""

import ctypes
import json
import mmap
import os
import pathlib
import subprocess
import sys
import time

MIB = 1 << 20
TARGET_BYTES = 64 * MIB
PIECES, PIECE_BYTES = 1000, 16 << 10
STEPS = ("registered", "read", "written", "scattered")

cuda = None


def must(error, what):
    if error != 0:
        sys.exit(f"FAIL {what}: CUDA error {error}")


class Device:
    """A context, a target in it, and what of the device's memory was taken since."""

    def __init__(self, context):
        global cuda
        if context == "torch":
            import torch

            torch.zeros(1, device="cuda")
            torch.cuda.synchronize()
        cuda = ctypes.CDLL(os.environ.get("GD2FS_CUDA_LIBRARY", "libcuda.so.1"))
        must(cuda.cuInit(0), "cuInit")
        primary = ctypes.c_void_p()
        must(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(primary), 0), "cuDevicePrimaryCtxRetain")
        must(cuda.cuCtxPushCurrent_v2(primary), "cuCtxPushCurrent")
        target = ctypes.c_uint64()
        must(cuda.cuMemAlloc_v2(ctypes.byref(target), ctypes.c_size_t(TARGET_BYTES)), "cuMemAlloc")
        self.address = target.value
        self.before = self.free()

    def free(self):
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        must(cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)), "cuMemGetInfo")
        return free.value

    def taken(self):
        return self.before - self.free()

    # As a tensor, for gpu_client.
    def data_ptr(self):
        return self.address

    def numel(self):
        return TARGET_BYTES


# --- with GD2FS ---


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline:
            sys.exit("FAIL what was waited for did not come")
        time.sleep(0.01)


def mapped_arenas(pinned_bytes):
    """(inode, length) of so many bytes of the server's arenas that this process maps."""
    arenas = []
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[5] == "/memfd:gd2fs-arena":
            begin, end = (int(one, 16) for one in fields[0].split("-"))
            if pinned_bytes >= end - begin:
                pinned_bytes -= end - begin
                arenas.append((int(fields[4]), end - begin))
    return arenas


def with_gd2fs(context, address, folder, query):
    from gpu_client import READ, WRITE, Client, Sge, check, until_straight

    device = Device(context)
    running = type("Running", (), {"address": address, "token_file": lambda self, cluster: f"{folder}/.config/gd2fs/tokens/{cluster}"})()
    client = Client(running, query)
    iomem = client.reg(device)
    until(lambda: client.counters()["gpu_ring_pinned_bytes"] > 0)
    report = {"registered": device.taken(), "ring_at_first": client.counters()["gpu_ring_pinned_bytes"]}

    def move(opcode, length=TARGET_BYTES):
        client.move(opcode, b"/vram", device, iomem, length)

    move(READ, 4096)
    if query:
        for _ in range(3):
            move(READ)
    else:
        check("reads go straight", until_straight(client, b"/vram", device, iomem, TARGET_BYTES))
    report["read"] = device.taken()
    report["arenas"] = mapped_arenas(client.counters()["gpu_shared_pinned_bytes"])
    for _ in range(4):
        move(WRITE)
        time.sleep(0.1)  # the staging memory is pinned beside the first one
    report["written"] = device.taken()
    sges = (Sge * PIECES)(*(Sge(device.address + 4 * i * PIECE_BYTES, PIECE_BYTES, iomem) for i in range(PIECES)))
    for opcode in (READ, WRITE):
        client.submit(opcode, b"/vram", 0, sges)
        client.wait(1)
    report["scattered"] = device.taken()
    counters = client.counters()
    report["ring"] = counters["gpu_ring_pinned_bytes"]
    report["shared"] = counters["gpu_shared_pinned_bytes"]
    client.dereg(iomem)
    client.close()
    return report


# --- without ---

PORTABLE, MAPPED, READ_ONLY = 1, 2, 8
NON_BLOCKING = 1
LISTS_BYTES = 2 * MIB
RING_STEP_BYTES = 32 * MIB
HUGE = 2 * MIB
MADV_HUGEPAGE = 14
KERNEL = b"""
.version 6.0
.target sm_70
.address_size 64
.visible .entry plain_copy(.param .u64 param_to, .param .u64 param_from, .param .u32 param_words)
{
  .reg .pred %p<3>;
  .reg .b32 %r<12>;
  .reg .b64 %rd<6>;
  ld.param.u32 %r5, [param_words];
  ld.param.u64 %rd2, [param_from];
  ld.param.u64 %rd1, [param_to];
  mov.u32 %r6, %ntid.x;
  mov.u32 %r7, %nctaid.x;
  mul.lo.s32 %r1, %r6, %r7;
  mov.u32 %r8, %ctaid.x;
  mov.u32 %r9, %tid.x;
  mad.lo.s32 %r11, %r8, %r6, %r9;
  setp.ge.u32 %p1, %r11, %r5;
  @%p1 bra END;
NEXT:
  mul.wide.u32 %rd3, %r11, 4;
  add.s64 %rd4, %rd2, %rd3;
  ld.global.u32 %r10, [%rd4];
  add.s64 %rd5, %rd1, %rd3;
  st.global.u32 [%rd5], %r10;
  add.s32 %r11, %r11, %r1;
  setp.lt.u32 %p2, %r11, %r5;
  @%p2 bra NEXT;
END:
  ret;
}
"""

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
MAP_FIXED, MAP_NORESERVE = 0x10, 0x4000


def map_shared(fd, length, protection):
    """At a huge page's border, as GD2FS maps what it shares."""
    room = libc.mmap(None, length + HUGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    address = (room + HUGE - 1) // HUGE * HUGE
    if libc.mmap(address, length, protection, mmap.MAP_SHARED | MAP_FIXED, fd, 0) != address:
        sys.exit(f"FAIL mmap of {length} bytes: {os.strerror(ctypes.get_errno())}")
    return address


def register(address, length, flags=0):
    must(cuda.cuMemHostRegister_v2(ctypes.c_void_p(address), ctypes.c_size_t(length), PORTABLE | MAPPED | flags), f"cuMemHostRegister of {length} bytes")
    return address


def own_memory(length, huge):
    address = libc.mmap(None, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if huge:
        libc.madvise(address, length, MADV_HUGEPAGE)
        ctypes.memset(address, 0, length)
    return register(address, length)


def ring_memory(length):
    """In steps, as it grows."""
    return [own_memory(RING_STEP_BYTES, True) for _ in range(0, length, RING_STEP_BYTES)]


def staging_memory(length):
    fd = os.memfd_create("staging")
    os.ftruncate(fd, length)
    return register(map_shared(fd, length, mmap.PROT_READ | mmap.PROT_WRITE), length)


def arena_of(server, inode, length):
    """The server's own memory."""
    for path in pathlib.Path(f"/proc/{server}/fd").iterdir():
        try:
            if path.stat().st_ino != inode or "memfd:gd2fs-arena" not in os.readlink(path):
                continue
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # it is no file, or was closed meanwhile
        return register(map_shared(fd, length, mmap.PROT_READ), length, READ_ONLY)
    sys.exit(f"FAIL the server has no arena {inode}")


def plain(context, server, wanted):
    device = Device(context)
    report = {}

    def note(step):
        report[step] = device.taken()

    stream, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    must(cuda.cuStreamCreate(ctypes.byref(stream), NON_BLOCKING), "cuStreamCreate")
    note("stream")
    must(cuda.cuModuleLoadData(ctypes.byref(module), KERNEL), "cuModuleLoadData")
    must(cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"plain_copy"), "cuModuleGetFunction")
    note("module")
    own_memory(LISTS_BYTES, False)
    ring = ring_memory(wanted["ring_at_first"])[0]
    note("registered")

    def synchronize():
        must(cuda.cuStreamSynchronize(stream), "cuStreamSynchronize")

    def copy(host, lengths, to_gpu):
        # A copy may not span two registrations: each begins where the memory does.
        for length in lengths:
            size, gpu = ctypes.c_size_t(length), ctypes.c_uint64(device.address)
            if to_gpu:
                must(cuda.cuMemcpyHtoDAsync_v2(gpu, ctypes.c_void_p(host), size, stream), "cuMemcpyHtoDAsync")
            else:
                must(cuda.cuMemcpyDtoHAsync_v2(ctypes.c_void_p(host), gpu, size, stream), "cuMemcpyDtoHAsync")
        synchronize()

    copy(ring, [4096, 8 * MIB], True)
    note("first_copy")
    if wanted["ring"] > wanted["ring_at_first"]:
        ring_memory(wanted["ring"] - wanted["ring_at_first"])
        note("ring_grown")
    arenas = [arena_of(server, inode, length) for inode, length in wanted["arenas"]]
    note("arenas_registered")
    source = arenas[0] if arenas else ring
    copy(source, [one * MIB for one in (4, 4, 32, 16, 8)], True)
    note("read")
    staging_bytes = wanted["shared"] - sum(length for _, length in wanted["arenas"])
    staging = staging_memory(staging_bytes) if staging_bytes > 0 else ring
    copy(staging, [2 * MIB] * 32, False)
    note("written")
    parameters = [ctypes.c_uint64(device.address), ctypes.c_uint64(source), ctypes.c_uint32(4 * MIB)]
    pointers = (ctypes.c_void_p * 3)(*(ctypes.addressof(one) for one in parameters))
    must(cuda.cuLaunchKernel(kernel, 16, 1, 1, 512, 1, 1, 0, stream, pointers, None), "cuLaunchKernel")
    synchronize()
    note("scattered")
    return report


# --- both ---


def run(*arguments):
    done = subprocess.run([sys.executable, __file__, sys.argv[1], *arguments], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("REPORT "):
            return json.loads(line[len("REPORT ") :])
        print(line, flush=True)
    sys.exit(f"FAIL {arguments[0]} ended with {done.returncode}: {done.stdout[-1000:]} {done.stderr[-2000:]}")


def main():
    from gpu_client import WRITE, Client, Server, row

    server = Server("12GiB")
    try:
        # Into the slab, by a client that knows of no GPU.
        writer = Client(server)
        content = ctypes.create_string_buffer(os.urandom(MIB) * (TARGET_BYTES // MIB), TARGET_BYTES)
        memory = type("Memory", (), {"data_ptr": lambda self: ctypes.addressof(content), "numel": lambda self: TARGET_BYTES})()
        writer.move(WRITE, b"/vram", memory, writer.reg(memory), TARGET_BYTES)
        writer.close()
        for context in ("driver", "torch"):
            for path, query in (("shm", ""), ("tcp", "?shm=off")):
                ours = run("gd2fs", context, server.address, server.folder, query)
                theirs = run("plain", context, str(server.process.pid), json.dumps(ours))
                ours.pop("arenas")
                row("vram_steps", who="gd2fs", context=context, path=path, **ours)
                row("vram_steps", who="plain", context=context, path=path, **theirs)
                row("vram_beside_plain", context=context, path=path, beyond_plain=max(ours[step] - theirs[step] for step in STEPS),
                    **{step: ours[step] for step in STEPS}, **{"plain_" + step: theirs[step] for step in STEPS})  # fmt: skip
    finally:
        server.stop()


if len(sys.argv) < 3:
    main()
elif sys.argv[2] == "gd2fs":
    print("REPORT " + json.dumps(with_gd2fs(*sys.argv[3:])), flush=True)
else:
    print("REPORT " + json.dumps(plain(sys.argv[3], sys.argv[4], json.loads(sys.argv[5]))), flush=True)
