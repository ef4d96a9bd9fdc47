"""Where the time of one hit into the GPU goes: when the driver was called for it, and when it answered.

    gpu_trace.py BUILD_FOLDER [--tcp] [MIB...]

The calls are noted by lib/libcuda_trace.so, which stands before the driver's library. The request's first message has been
sent when the driver is woken for the copies (the first event that is recorded), and the first grant is there when the first copy begins.
Times are microseconds from the call of submit. Hits and plain pinned copies by turns, as in gpu_e2e.py. With --tcp the bytes come
over TCP, and what is beside them is the same hit into host memory.
"""

import ctypes
import os
import pathlib
import statistics
import sys
import time

TCP = "--tcp" in sys.argv
if TCP:
    sys.argv.remove("--tcp")
    os.environ["GD2FS_SHM"] = "off"
os.environ["GD2FS_CUDA_LIBRARY"] = str(pathlib.Path(sys.argv[1]).resolve() / "lib" / "libcuda_trace.so")

import torch  # noqa: E402
from gpu_client import BUILD, MIB, READ, WRITE, Client, Server, Sge, check, op_of, random_bytes, row, until_straight  # noqa: E402

ROUNDS = 41
COPY_TO_GPU, COPY_FROM_GPU, LAUNCH, EVENT_RECORD, EVENT_SEEN = range(1, 6)
NAMES = {COPY_TO_GPU: "copy to the GPU", COPY_FROM_GPU: "copy from the GPU", LAUNCH: "kernel", EVENT_RECORD: "event recorded", EVENT_SEEN: "event seen"}


class Note(ctypes.Structure):
    _fields_ = [("begin_ns", ctypes.c_uint64), ("end_ns", ctypes.c_uint64), ("value", ctypes.c_uint64), ("call", ctypes.c_uint32), ("answer", ctypes.c_int32)]


trace = ctypes.CDLL(os.environ["GD2FS_CUDA_LIBRARY"])
trace.cuda_trace_take.restype = ctypes.c_size_t
notes = (Note * 4096)()


def take():
    return [(one.call, one.begin_ns, one.end_ns, one.value) for one in notes[: trace.cuda_trace_take(notes, ctypes.c_size_t(len(notes)))]]


def traced(client, op):
    """One hit: when it was submitted, taken and done, and the driver's calls in it."""
    torch.cuda.synchronize()
    take()
    submitted = time.perf_counter_ns()
    client.send(op)
    taken = time.perf_counter_ns()
    client.wait(1)
    return submitted, taken, time.perf_counter_ns(), take()


def marks(hit):
    """What one hit looks like, in microseconds from its submit."""
    submitted, taken, done, calls = hit
    copies = [one for one in calls if one[0] in (COPY_TO_GPU, LAUNCH)]
    seen = [one for one in calls if one[0] == EVENT_SEEN]
    first = min(one[1] for one in copies)
    woken = [one for one in calls if one[0] == EVENT_RECORD and one[1] < first]
    times = {
        "sent": woken[0][1] if woken else first,
        "driver_woken": woken[0][2] if woken else first,
        "first_copy": first,
        "first_copy_returned": min(one[2] for one in copies),
        "submit_returned": taken,
        "first_seen": seen[0][1],
        "last_copy_returned": max(one[2] for one in copies),
        "looked_in_vain": seen[-1][3] or seen[-1][1],
        "last_seen": seen[-1][1],
        "done": done,
    }
    return {name: (at - submitted) / 1e3 for name, at in times.items()} | {"copies": len(copies)}


def timeline(hit):
    submitted, taken, done, calls = hit
    lines = [(submitted, "submit"), (taken, "submit has returned"), (done, "the completion is there")]
    for call, begin, end, value in calls:
        detail = f" of {value / MIB:.2f} MiB" if call in (COPY_TO_GPU, COPY_FROM_GPU) else ""
        if call == EVENT_SEEN and value:
            detail = f", {(begin - value) / 1e3:.1f} us after the look before"
        lines.append((begin, f"{NAMES[call]}{detail}, the call took {(end - begin) / 1e3:.1f} us"))
    for at, what in sorted(lines):
        print(f"  {(at - submitted) / 1e3:9.1f} us  {what}")


def hits(client, length):
    path = b"/trace-%d" % length
    data, back = random_bytes(length), torch.zeros(length, dtype=torch.uint8, device="cuda")
    pinned = torch.zeros(length, dtype=torch.uint8, pin_memory=True)
    torch.cuda.synchronize()
    host = torch.zeros(length, dtype=torch.uint8)
    data_io, back_io, host_io = client.reg(data), client.reg(back), client.reg(host)
    client.move(WRITE, path, data, data_io, length)
    if not TCP:
        check(f"{length // MIB} MiB go straight from the server's memory", until_straight(client, path, back, back_io, length))
    op = op_of(READ, path, 0, (Sge * 1)(Sge(back.data_ptr(), length, back_io)), 0)
    host_op = op_of(READ, path, 0, (Sge * 1)(Sge(host.data_ptr(), length, host_io)), 0)
    time.sleep(0.5)
    plain, all_hits = [], []
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        began = time.perf_counter_ns()
        if TCP:
            client.send(host_op)
            client.wait(1)
        else:
            back.copy_(pinned, non_blocking=True)
            torch.cuda.synchronize()
        plain.append((time.perf_counter_ns() - began) / 1e3)
        all_hits.append(traced(client, op))
    check(f"{length // MIB} MiB are equal", torch.equal(data, back))
    if TCP:
        check(f"{length // MIB} MiB are equal in host memory", torch.equal(data.cpu(), host))
    all_hits.sort(key=lambda hit: hit[2] - hit[0])
    each = [marks(hit) for hit in all_hits]
    middle = {name: statistics.median(one[name] for one in each) for name in each[0]}
    late = statistics.median(one["last_seen"] - one["looked_in_vain"] for one in each)
    row("hit_trace", length_mib=length // MIB, plain_us=statistics.median(plain), ratio=statistics.median(plain) / middle["done"], last_look_apart_us=late, **middle)
    for share in (0.1, 0.5, 0.9):
        print(f"{length // MIB} MiB, the hit at {share:.0%} of {ROUNDS}:")
        timeline(all_hits[int(share * (ROUNDS - 1))])
    for iomem in (data_io, back_io, host_io):
        client.dereg(iomem)


def main():
    torch.cuda.init()
    server = Server("4GiB")
    try:
        client = Client(server)
        for mib in [int(one) for one in sys.argv[2:]] or [64, 256]:
            hits(client, mib * MIB)
        client.close()
    finally:
        server.stop()


main()
