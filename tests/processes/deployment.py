"""Deployment: `gd2fs` processes under test, started, killed and asked by the tests."""
import contextlib
import json
import os
import pathlib
import random
import re
import selectors
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GD2FS = os.environ.get("GD2FS_BIN", str(ROOT / "build/bin/gd2fs"))
# The local addresses that clients are to use as rails, if GD2FS_DPADDR says rdma://; then servers listen there, too.
RAILS = re.findall(r"rdma://(\[[^]]+\]|[^,:]+)", os.environ.get("GD2FS_DPADDR", ""))
# The same for all processes of a run of the tests: how clients reach a server.
KEPT = {"GD2FS_SHM", "GD2FS_DPADDR", "GD2FS_REQUIRE"}
READY_SECONDS = 60
STOP_SECONDS = 60


def free_port():
    """Below the ports that outgoing connections take: it is still free when a killed server starts again."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Failed(Exception):
    """A process ended before it was ready."""

    def __init__(self, code, text):
        super().__init__(f"exit code {code}: {text}")
        self.code = code
        self.text = text


class Process:
    """One long-lived gd2fs process and its ready line."""

    def __init__(self, arguments, log, env):
        self.log = pathlib.Path(log)
        with open(log, "ab") as errors:
            begin = errors.tell()
            self.process = subprocess.Popen([GD2FS, *arguments], stdout=subprocess.PIPE, stderr=errors,
                                            stdin=subprocess.DEVNULL, env=env, cwd="/")
        self.ready = self._ready_line(begin)

    def _ready_line(self, begin):
        deadline = time.monotonic() + READY_SECONDS
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0, deadline - time.monotonic())):
                    self.kill()
                    raise Failed(None, "not ready in time:\n" + self.log.read_text(errors="replace"))
                part = os.read(self.process.stdout.fileno(), 4096)
                if not part:
                    code = self.process.wait()
                    raise Failed(code, self.log.read_bytes()[begin:].decode(errors="replace"))
                line += part
        return line.decode()

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        """SIGTERM; the exit code, and what it printed to stdout after the ready line."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, rest.decode()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def running(self):
        return self.process.poll() is None


class Deployment:
    """`gd2fs up`, or with split=True a controller and a server apart, on fixed ports."""

    cluster = "gd2fs-cluster0"

    def __init__(self, place, *arguments, split=False):
        self.place = pathlib.Path(place)
        self.place.mkdir(exist_ok=True)
        self.arguments = [str(argument) for argument in arguments]
        self.split = split
        self.home = self.place / "home"
        self.home.mkdir(exist_ok=True)
        self.data = self.place / "data"
        self.log = self.place / "log"
        self.port = free_port()
        self.data_port = free_port()
        self.rdma_port = free_port()
        self.up = self.controller = self.server = None

    def env(self, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GD2FS_") or name in KEPT}
        kept.update(HOME=str(self.home), GD2FS_CPADDR=self.address, GD2FS_CLUSTER=self.cluster)
        kept.update(more)
        return kept

    @property
    def address(self):
        return f"gd2fs://127.0.0.1:{self.port}"

    def server_listen(self, tcp=None):
        """Flags of the process that serves data, which listens on TCP and on every rail."""
        addresses = [tcp] if tcp else []
        addresses += [f"rdma://{rail}:{self.rdma_port}" for rail in RAILS]
        return ["--set", "server.listen=" + ",".join(addresses)] if addresses else []

    @property
    def token_file(self):
        return (self.place / "controller" if self.split else self.data) / "tokens" / self.cluster

    # --- processes ---
    def start(self):
        if self.split:
            self.start_controller()
            self.start_server()
        else:
            self.start_up()
        return self

    def start_up(self):
        assert self.up is None or not self.up.running()
        self.up = Process(["up", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", "--slab", "256MiB",
                           "--set", "store.data_file=64MiB", *self.server_listen(), *self.arguments],
                          self.log, self.env())
        match = re.fullmatch(r"ready gd2fs://127\.0\.0\.1:(\d+) cluster=(\S+)\n", self.up.ready)
        assert match, self.up.ready
        self.port = int(match[1])
        return self.up

    def start_controller(self):
        self.controller = Process(["controller", "--data", str(self.place / "controller"), "--listen",
                                   f"127.0.0.1:{self.port}", *self.arguments], self.place / "controller.log", self.env())

    def start_server(self):
        self.server = Process(["server", "--data", str(self.data), "--controller", f"127.0.0.1:{self.port}",
                               *self.server_listen(f"127.0.0.1:{self.data_port}"), "--slab", "256MiB", "--set", "store.data_file=64MiB",
                               "--secret-file", str(self.place / "controller/secret")],
                              self.place / "server.log", self.env())

    def stop(self):
        for process in (self.server, self.controller, self.up):
            if process is not None and process.running():
                code, rest = process.stop()
                assert code == 0, process.log.read_text(errors="replace")
                assert rest == "", rest
        return self

    def restart(self):
        self.stop()
        return self.start()

    def kill(self):
        for process in (self.server, self.controller, self.up):
            if process is not None and process.running():
                process.kill()

    close = kill

    # --- the command line ---
    def run(self, *arguments, code=0, env=None, text=True):
        """One command; its stdout. `code` is what it must exit with (None: anything)."""
        done = subprocess.run([GD2FS, *map(str, arguments)], env=env or self.env(), capture_output=True, text=text,
                              timeout=300, cwd=self.place, stdin=subprocess.DEVNULL)
        self.last = done
        if code is not None:
            assert done.returncode == code, (
                f"gd2fs {' '.join(map(str, arguments))}: exit code {done.returncode}, not {code}\n{done.stderr}\n"
                f"{self.log.read_text(errors='replace')[-4000:] if self.log.exists() else ''}")
        return done.stdout

    def json(self, *arguments, code=0):
        return json.loads(self.run(*arguments, "-o", "json", code=code))

    def errors(self, *arguments, code):
        """What a failing command says on stderr."""
        assert self.run(*arguments, code=code) == ""
        return self.last.stderr
