#!/usr/bin/env python3
"""Runs one ABI program against a cluster: run_program.py memory|disk SERVER PROGRAM [ARGS...].

memory: SERVER is the cluster in memory; it prints "ADDRESS CLUSTER TOKEN" when it can serve, and serves until its
standard input ends. disk: SERVER is gd2fs itself, run as `gd2fs up` on a fresh directory of a real drive.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

CLUSTER = "c"


class MemoryCluster:
    def __init__(self, program, folder):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.process.stdout.readline().split()
        if len(words) != 3:
            sys.exit(f"the server did not start: {words}")
        self.address = words[0].replace("tcp://", "gd2fs://")
        self.token_file = folder / "token"
        with open(os.open(self.token_file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
            out.write(words[2] + "\n")

    def stop(self):
        self.process.stdin.close()


class DiskCluster:
    def __init__(self, program, folder):
        data = folder / "data"
        command = [program, "up", "--data", data, "--listen", "127.0.0.1:0", "--cluster", CLUSTER, "--slab", "512MiB",
                   "--log-level", "warn"]
        # Where clients are to use RDMA, the server listens for it.
        rails = re.findall(r"rdma://[^,]+", os.environ.get("GD2FS_DPADDR", ""))
        if rails:
            command += ["--set", "server.listen=" + ",".join(rails)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("GD2FS_")}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                        env=dict(env, HOME=str(folder)))
        line = self.process.stdout.readline()
        ready = re.fullmatch(rf"ready (gd2fs://\S+) cluster={CLUSTER}\n", line)
        if ready is None:
            sys.exit(f"the server did not start: {line!r}")
        self.address = ready[1]
        self.token_file = data / "tokens" / CLUSTER

    def stop(self):
        self.process.send_signal(signal.SIGTERM)


def run(kind, server_program, program, folder):
    server = {"memory": MemoryCluster, "disk": DiskCluster}[kind](server_program, folder)
    try:
        env = dict(os.environ, GD2FS_CPADDR=server.address, GD2FS_CLUSTER=CLUSTER, GD2FS_TOKEN_FILE=str(server.token_file))
        env["ABI_EXPECTS_VIEWS"] = "1" if kind == "disk" and os.environ.get("GD2FS_SHM") != "off" else "0"
        done = subprocess.run(program, env=env, timeout=110, check=False)
        if server.process.poll() is not None:
            return f"the server died with {server.process.returncode}"
        if done.returncode != 0:
            return f"{program[0]} ended with {done.returncode}"
        server.stop()
        if server.process.wait(timeout=20) != 0:
            return f"the server ended with {server.process.returncode}"
        return None
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def main():
    # Not in /tmp, which may be a tmpfs without O_DIRECT.
    with tempfile.TemporaryDirectory(dir=os.environ.get("GD2FS_TEST_DIR", "/var/tmp"), prefix="gd2fs-abi-") as folder:
        sys.exit(run(sys.argv[1], sys.argv[2], sys.argv[3:], pathlib.Path(folder)))


if __name__ == "__main__":
    main()
