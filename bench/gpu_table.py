"""Prints the GPU section of docs/performance.md from the rows of bench/gpu.sh, with what issue 4 asks for.

    gpu_table.py ROWS.jsonl MACHINE.txt [all]

Rows of several runs may be joined (cat): of equal ones the last counts. `all` adds every row as it is.
"""

import json
import sys


def load(path):
    kinds = {}
    for line in open(path):
        if line.startswith("{"):
            row = json.loads(line)
            kinds.setdefault(row.pop("row"), []).append(row)
    return kinds


KINDS = load(sys.argv[1])


def last(kind, **wanted):
    rows = [row for row in KINDS.get(kind, []) if all(row.get(key) == value for key, value in wanted.items())]
    return rows[-1] if rows else None


LINES = []


def aim(what, row, seen, value=None, least=None, most=None):
    """`value` is compared; `seen` is what people read, with the row's fields in it."""
    if row is None:
        LINES.append((what, "not measured", ""))
        return
    held = (least is None or value(row) >= least) and (most is None or value(row) <= most)
    LINES.append((what, seen.format(**row), "met" if held else "missed"))


def aims():
    for mib in (64, 256, 1024):
        aim(f"same-host hit into the GPU, {mib} MiB: >= 0.95 of the pinned copy", last("read_hit", path="shm", length_mib=mib),
            "{gpu_to_plain:.2f}: {gpu_ms:.2f} ms, {gpu_gbps:.1f} GB/s beside {plain_gbps:.1f}, {gpu_cpu_s_per_gb:.3f} CPU s/GB", lambda r: r["gpu_to_plain"], 0.95)  # fmt: skip
    for mib in (64, 256):
        aim(f"eight such hits of {mib} MiB one by one without a pause, and with the next one asked for ahead", last("read_hits_in_a_row", length_mib=mib),
            "{one_by_one_to_link:.2f} ({one_by_one_ms:.2f} ms each) and {ahead_to_link:.2f} ({ahead_ms:.2f} ms each) of the link doing the same, {cpu_s_per_gb:.3f} CPU s/GB of the client",
            lambda r: r["ahead_to_link"], 0.95)  # fmt: skip
    for mib in (64, 256, 1024):
        aim(f"GPU to GD2FS, durability memory, {mib} MiB: >= 0.45 of device to host", last("write", path="shm", durability="memory", length_mib=mib),
            "{gpu_to_plain:.2f}: {gpu_ms:.2f} ms, {gpu_gbps:.1f} GB/s beside {plain_gbps:.1f}, {gpu_cpu_s_per_gb:.3f} CPU s/GB of client and server", lambda r: r["gpu_to_plain"], 0.45)  # fmt: skip
    bulk = last("bulk", direction="from_gpu", length_mib=1024)
    border = last("border_gbps", direction="from_gpu", piece_bytes=16384)
    both = dict(border, ratio=border["kernel_16x512"] / bulk["plain_gbps"], plain=bulk["plain_gbps"]) if bulk and border else None
    aim("scatter kernel from the GPU, pieces of 16 KiB: >= 0.85 of device to host", both, "{ratio:.2f}: {kernel_16x512:.1f} GB/s beside {plain:.1f}", lambda r: r["ratio"], 0.85)
    for mib in (64, 256, 1024):
        aim(f"TCP hit into the GPU, {mib} MiB: >= 0.90 of into host memory", last("read_hit", path="tcp", length_mib=mib),
            "{gpu_to_host:.2f}: {gpu_gbps:.2f} GB/s beside {host_gbps:.2f}", lambda r: r["gpu_to_host"], 0.90)  # fmt: skip
    for row in KINDS.get("lanes", []):
        aim(f"TCP hit into host memory, {row['size_bytes'] >> 20} MiB, {row['lanes']} lanes asked for: >= 0.85 of raw sockets", row,
            "{ratio:.2f}: {gb_per_s:.2f} GB/s beside {baseline_gb_per_s:.2f}", lambda r: r["ratio"], 0.85)  # fmt: skip
    for row in KINDS.get("lanes_write", []):
        aim(f"TCP write, durability memory, {row['size_bytes'] >> 20} MiB, {row['lanes']} lanes asked for: >= 0.85 of raw sockets", row,
            "{ratio:.2f}: {gb_per_s:.2f} GB/s beside {baseline_gb_per_s:.2f}", lambda r: r["ratio"], 0.85)  # fmt: skip
    for row in KINDS.get("lanes_gpu", []):
        aim(f"TCP hit into the GPU, {row['size_bytes'] >> 20} MiB, {row['lanes']} lanes asked for: >= 0.90 of into host memory", row,
            "{gpu_to_host:.2f}: {gpu_gbps:.2f} GB/s beside {host_gbps:.2f}", lambda r: r["gpu_to_host"], 0.90)  # fmt: skip
    for row in KINDS.get("gpus_at_once", []):
        aim(f"{row['gpus']} GPUs at once: >= 0.95 of their links' sum", row, "{ratio:.2f}: {gd2fs_gbps:.1f} GB/s beside {links_gbps:.1f}", lambda r: r["ratio"], 0.95)
    for kind, word in (("kv_read", "read"), ("kv_write", "write")):
        for row in KINDS.get(kind, []):
            if row["path"] == "shm":
                aim(f"{row['pieces']} pieces of {row['piece_bytes']} in {row['requests']} requests, {word}, durability {row['durability']}: >= 0.80 of one large", row,
                    "{ratio:.2f}: {gbps:.1f} GB/s", lambda r: r["ratio"], 0.80)  # fmt: skip
    aim("4 KiB hit into the GPU: p50 <= 30 us", last("small_read", path="shm", length_bytes=4096),
        "{gpu_p50_us:.1f} us (p99 {gpu_p99_us:.1f}; into host memory {host_p50_us:.1f})", lambda r: r["gpu_p50_us"], most=30)  # fmt: skip
    load_row = last("checkpoint_load")
    aim("16 GiB checkpoint, server's memory pinned before: <= 1.10 x bytes / link + 0.1 s", load_row,
        "{registered_s:.3f} s, allowed {registered_allowed_s:.3f}", lambda r: r["registered_s"] - r["registered_allowed_s"], most=0)  # fmt: skip
    aim("16 GiB checkpoint in a fresh process: <= 0.9 s after its CUDA context", load_row, "{fresh_s:.3f} s, {fresh_straight:.2f} of it straight", lambda r: r["fresh_s"], most=0.9)
    if load_row and load_row.get("safetensors_s"):
        LINES.append(("... `safetensors.torch.load_file(device=\"cuda\")` out of the page cache", f"{load_row['safetensors_s']:.3f} s", "for comparison"))
    for row in KINDS.get("vram_beside_plain", []):
        aim(f"VRAM beside targets and context ({row['context']}'s context, {row['path']}): none beyond plain use of the driver", row,
            "{registered}, {read}, {written}, {scattered} bytes (memory registered, read, written, in short pieces too); plain use: {plain_registered}, {plain_read}, {plain_written}, {plain_scattered}",
            lambda r: r["beyond_plain"], most=0)  # fmt: skip
    for row in KINDS.get("leaks", []):
        aim(f"{row['cycles']} cycles of connect, read, close over {row['path']} leave nothing", row,
            "VRAM {vram}, memory {resident}, descriptors {fds}, threads {threads}, mappings {maps}; the server: {server_resident}, {server_fds}",
            lambda r: max(r["vram"], r["fds"], r["threads"]), most=0)  # fmt: skip
    aim("8 processes, 2 clusters, SIGSTOP and SIGKILL during copies: no wrong byte", last("stress"),
        "{rounds} transfers, {stopped} stops, {killed} kills in {seconds:.0f} s, {failed} failed with an error, {straight_read_gb:.0f} GB straight",
        lambda r: 0, most=0)  # fmt: skip


def main():
    machine = " ".join(line.strip() + ";" for line in open(sys.argv[2]) if line.strip()).rstrip(";")
    print(f"## GPU memory\nBy `bench/gpu.sh` (bytes compared, medians, baselines by turns in the same run) on: {machine}.\n")
    aims()
    print("| aim | seen | |\n| --- | --- | --- |")
    for line in LINES:
        print("| " + " | ".join(line) + " |")
    if "all" in sys.argv[3:]:
        for kind, rows in KINDS.items():
            keys = list(dict.fromkeys(key for row in rows for key in row))
            print(f"\n### {kind}\n| " + " | ".join(keys) + " |\n|" + " --- |" * len(keys))
            for row in rows:
                print("| " + " | ".join(f"{row[k]:.4g}" if isinstance(row.get(k), float) else str(row.get(k, "")) for k in keys) + " |")


main()
