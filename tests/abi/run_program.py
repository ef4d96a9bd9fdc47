#!/usr/bin/env python3
"""Runs one ABI program against a cluster: run_program.py SERVER PROGRAM [ARGS...].

SERVER prints one line with the controller's address and serves until its standard input ends.
"""
import os
import subprocess
import sys
import tempfile


def main():
    server = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip().replace("tcp://", "gd2fs://")
        if not address:
            sys.exit("the server did not start")
        with tempfile.TemporaryDirectory() as home:
            token = os.path.join(home, "token")
            with open(os.open(token, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
                out.write(b"the key in the token file, 32 b.".hex() + "\n")
            env = dict(os.environ, GD2FS_CPADDR=address, GD2FS_CLUSTER="c", GD2FS_TOKEN_FILE=token)
            done = subprocess.run(sys.argv[2:], env=env, timeout=110)
        if server.poll() is not None:
            sys.exit(f"the server died with {server.returncode}")
        sys.exit(done.returncode)
    finally:
        server.stdin.close()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()


if __name__ == "__main__":
    main()
