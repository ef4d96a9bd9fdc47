#!/usr/bin/env python3
"""check_library.py LIBRARY MAP HEADER: the library exports exactly what the map lists and the header
declares, and needs no library beyond those it may."""
import re
import subprocess
import sys

MAY_NEED = {
    "libc.so.6", "libm.so.6", "libpthread.so.0", "libstdc++.so.6", "libcrypto.so.3",
    "libgcc_s.so.1",  # the compiler's part of libstdc++
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",  # libc's thread-local storage
}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    library, map_file, header = sys.argv[1:4]
    exported = set()
    for line in run("nm", "-D", "--defined-only", library).splitlines():
        _, kind, name = line.split()
        if kind != "A":
            exported.add(name.split("@")[0])
    with open(map_file, encoding="utf-8") as text:
        listed = set(re.findall(r"^\s+(xfer_\w+);", text.read(), re.M))
    with open(header, encoding="utf-8") as text:
        code = re.sub(r"/\*.*?\*/", "", text.read(), flags=re.S)
        declared = set(re.findall(r"\b(xfer_gd2fs_\w+)\s*\(", code))
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", library)))
    failures = []
    if exported != listed:
        failures.append(f"exported and map differ: {sorted(exported ^ listed)}")
    if declared != listed:
        failures.append(f"header and map differ: {sorted(declared ^ listed)}")
    if not needed <= MAY_NEED:
        failures.append(f"needs too much: {sorted(needed - MAY_NEED)}")
    if not listed:
        failures.append("the map is empty")
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
