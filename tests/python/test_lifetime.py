"""What lives how long: buffers, registrations, clients, processes."""

import errno
import gc
import os
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref

import numpy
import pytest
from conftest import Memory, wait_for


def run_program(stack, program):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PREAMBLE + textwrap.dedent(program)],
        env=stack.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


PREAMBLE = """
import importlib, os, sys
gd2fs = importlib.import_module(os.environ["PACKAGE"])
def connect(**options):
    return gd2fs.Client(os.environ["CPADDR"], os.environ["DPADDR"], os.environ["CLUSTER"], 1, 1, 1, **options)
"""


def test_a_request_in_flight_keeps_its_buffer(fake_stack, fake, fake_client):
    gd2fs = fake_stack.gd2fs
    fake_client.write_from("/file", b"hello")
    fake.hold(1)
    target = numpy.zeros(5, numpy.uint8)
    gone = weakref.ref(target)
    iomem = fake_client.RegBuffer(target)
    request = fake_client.Read("/file", 0, [gd2fs.SGE(iomem.address, 5, iomem)], 0, "")
    del target, iomem
    gc.collect()
    assert gone() is not None
    fake.hold(0)
    wait_for(fake_client, request)
    gc.collect()
    assert gone() is None and fake.iomems() == 0


def test_a_dropped_request_still_completes(fake_client, fake, fake_memory):
    fake.hold(1)
    fake_client.Read("/x", 0, [fake_memory.sge()], 0, "dropped")
    gc.collect()
    fake.hold(0)
    [request] = fake_client.Wait(-1)
    assert request.desc == "dropped"


def test_a_dropped_registration_is_given_back(fake_client, fake):
    memory = Memory(fake_client, 4096)
    assert fake.iomems() == 1
    del memory
    gc.collect()
    assert fake.iomems() == 0


def test_nothing_is_left_of_a_closed_client(fake_stack, fake):
    before = fake.ctxs(), fake.iomems(), fake.cqs()
    with fake_stack.connect() as client:
        memory = Memory(client, 4096)
        client.write_from("/file", b"x")
        client.Stat("/file")
        for _ in range(100):
            client.Read("/file", 0, [memory.sge()], 0, "")
    assert (fake.ctxs(), fake.iomems(), fake.cqs()) == before
    gone = weakref.ref(client)
    del client, memory
    gc.collect()
    assert gone() is None


def test_a_client_that_is_dropped_with_requests_in_flight_closes(fake_stack, fake):
    client = fake_stack.connect()
    memory = Memory(client, 4096)
    memory.client = None
    fake.hold(1)
    requests = [client.Read("/x", 0, [memory.sge()], 0, "") for _ in range(5)]
    with pytest.warns(ResourceWarning, match="unclosed"):
        del client
        gc.collect()
    assert fake.ctxs() == 0
    for request in requests:
        assert fake_stack.gd2fs.InspectStatus(request.Status())[1:] == (1, 4, errno.ECANCELED)


def test_close_ends_everything_and_may_be_called_again(gd2fs, stack):
    client = stack.connect()
    memory = Memory(client, 4096)
    requests = [client.Read("/none", 0, [memory.sge()], 0, "") for _ in range(100)]
    assert not client.closed
    client.close()
    client.close()
    assert client.closed
    for request in requests:
        assert request.Done() and request.Status() & 0xFF == errno.ECANCELED
    for call in (
        lambda: client.Read("/x", 0, [memory.sge()], 0, ""),
        lambda: client.Wait(0),
        lambda: client.Wait(-1),
        lambda: client.GetFd(),
        lambda: client.Stat("/"),
        lambda: client.RegIOMEM(memory.bytes.ctypes.data, 10),
        lambda: client.read_into("/x", bytearray(1)),
    ):
        with pytest.raises(OSError) as failure:
            call()
        assert failure.value.errno == errno.ECANCELED
    client.DeregIOMEM(memory.iomem)  # its registration ended with the client
    with client:
        pass


def test_two_threads_that_close_both_return_when_it_is_done(fake_stack, fake):
    client = fake_stack.connect()
    memory = Memory(client, 4096)
    fake.hold(1)
    fake.hold_cancels(1)
    client.Read("/x", 0, [memory.sge()], 0, "")
    closed = []
    threads = [threading.Thread(target=lambda: (client.close(), closed.append(fake.running()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    while fake.cancels_held() == 0:
        pass
    assert closed == []
    fake.hold_cancels(0)
    for thread in threads:
        thread.join()
    assert closed == [0, 0]


def test_cancel_ends_a_request_early(fake_client, fake, fake_memory, fake_stack):
    fake.hold(1)
    request = fake_client.Read("/x", 0, [fake_memory.sge()], 0, "")
    assert request.Cancel() is True
    wait_for(fake_client, request)
    assert fake_stack.gd2fs.InspectStatus(request.Status()) == (False, 1, 5, errno.ECANCELED)
    assert request.Cancel() is False


def test_requests_in_flight_when_memory_is_deregistered_are_handed_out(gd2fs, client, folder):
    client.write_from(f"{folder}/file", bytes(1 << 22))
    memory = Memory(client, 1 << 22)
    requests = {client.Read(f"{folder}/file", 0, [memory.sge()], 0, "") for _ in range(20)}
    client.DeregIOMEM(memory.iomem)
    memory.bytes[:] = 7
    while requests:
        for request in client.Wait(-1):
            requests.remove(request)
            if request.Status():
                assert gd2fs.InspectStatus(request.Status())[1:] == (gd2fs.STATUS_CLASS_CLIENT, 3, errno.ECANCELED)
    assert (memory.bytes == 7).all()


def test_a_child_of_fork_gets_eperm_and_the_parent_goes_on(gd2fs, client, folder, memory):
    client.write_from(f"{folder}/file", b"abc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = os.fork()
    if child == 0:
        code = 1
        try:
            refused = 0
            for call in (
                lambda: client.Read(f"{folder}/file", 0, [memory.sge()], 0, ""),
                lambda: client.Wait(0),
                lambda: client.GetFd(),
                lambda: client.Stat("/"),
                lambda: client.RegIOMEM(memory.bytes.ctypes.data, 10),
                lambda: client.DeregIOMEM(memory.iomem),
                lambda: client.read_into("/x", bytearray(1)),
            ):
                try:
                    call()
                except PermissionError as error:
                    refused += error.errno == errno.EPERM
            client.close()
            code = 0 if refused == 7 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait_for(client, client.Read(f"{folder}/file", 0, [memory.sge(0, 3)], 0, ""))
    assert memory.bytes[:3].tobytes() == b"abc"


def test_a_child_of_fork_may_connect_anew(real_stack):
    done = run_program(
        real_stack,
        """
        import warnings; warnings.simplefilter("ignore")
        client = connect()
        child = os.fork()
        if child == 0:
            with connect() as mine:
                os._exit(0 if mine.Stat("/").is_dir() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.Stat("/").is_dir()
        client.close()
        """,
    )
    assert done.returncode == 0, done.stderr


def test_a_process_may_end_with_requests_in_flight_and_threads_in_wait(stack):
    done = run_program(
        stack,
        """
        import threading
        client = connect()
        path = f"/big-{os.getpid()}"
        client.Create(path, 64 << 20)
        target = bytearray(64 << 20)
        iomem = client.RegBuffer(target)
        threading.Thread(target=lambda: [client.Wait(-1) for _ in range(10**6)], daemon=True).start()
        for i in range(50):
            client.Read(path, 0, [gd2fs.SGE(iomem.address, 64 << 20, iomem)], 0, "")
        print("leaving")
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "leaving\n"
    assert "Fatal" not in done.stderr


def test_a_daemon_thread_in_wait_says_nothing_when_python_ends(stack):
    """Its exception would be printed while Python takes its streams apart, which ends the process by SIGABRT."""
    for _ in range(10):
        done = run_program(
            stack,
            """
            import threading
            client = connect()
            threading.Thread(target=lambda: client.Wait(-1), daemon=True).start()
            client.Stat("/")
            """,
        )
        assert done.returncode == 0, done.stderr
        assert "Exception in thread" not in done.stderr


def test_a_program_that_ends_by_an_exception_in_a_loop_ends(stack):
    done = run_program(
        stack,
        """
        import asyncio
        client = connect()
        target = bytearray(4096)
        iomem = client.RegBuffer(target)
        async def main():
            for _ in range(100):
                asyncio.create_task(client.ReadAsync("/none", 0, [gd2fs.SGE(iomem.address, 4096, iomem)], 0))
            await asyncio.sleep(0)
            raise SystemExit(7)
        asyncio.run(main())
        """,
    )
    assert done.returncode == 7, done.stderr
    assert done.stderr == ""


def test_an_import_starts_no_thread_and_needs_neither_numpy_nor_torch(stack):
    done = run_program(
        stack,
        """
        assert len(os.listdir("/proc/self/task")) == 1
        assert "numpy" not in sys.modules and "torch" not in sys.modules
        with connect() as client:
            client.write_from("/without-numpy", b"abc")
            target = bytearray(3)
            assert client.read_into("/without-numpy", target) == 3 and target == b"abc"
        assert "numpy" not in sys.modules and "torch" not in sys.modules
        """,
    )
    assert done.returncode == 0, done.stderr
