"""Read, Write and Wait: bytes, ends of files, arguments and errors."""

import errno
import os

import numpy
import pytest
from conftest import DATA_ADDRESS, Memory, pattern, wait_for


def test_what_is_written_is_read_back(client, folder, memory):
    path = f"{folder}/file"
    memory.bytes[:] = expected = pattern(len(memory.bytes))
    write = client.Write(path, 0, [memory.sge()], 0, "out")
    wait_for(client, write)
    assert (write.Status(), write.Value()) == (0, len(expected))
    memory.bytes[:] = 0
    read = client.Read(path, 0, [memory.sge()], 0, "in")
    wait_for(client, read)
    assert (read.Status(), read.Value()) == (0, len(expected))
    assert numpy.array_equal(memory.bytes, expected)


def test_slices_are_filled_in_their_order(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, bytes(range(100)))
    slices = [(900, 7), (13, 0), (500, 50), (0, 1)]
    read = client.Read(path, 10, [memory.sge(*piece) for piece in slices], 0, "")
    wait_for(client, read)
    assert read.Value() == 58
    got = b"".join(memory.bytes[at : at + length].tobytes() for at, length in slices)
    assert got == bytes(range(10, 68))


def test_a_read_is_short_only_at_the_end_of_the_file(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, b"x" * 1000)
    for offset, expected in [(0, 1000), (999, 1), (1000, 0), (1 << 40, 0)]:
        read = client.Read(path, offset, [memory.sge(0, 4096)], 0, "")
        wait_for(client, read)
        assert (read.Status(), read.Value()) == (0, expected)


def test_a_hole_reads_as_zeros(client, folder):
    path = f"{folder}/file"
    client.write_from(path, b"end", offset=100_000)
    target = bytearray(b"\xff" * 100_003)
    assert client.read_into(path, target) == 100_003
    assert target == bytes(100_000) + b"end"


def test_wait_comes_back_empty_when_the_time_has_passed(client):
    assert client.Wait(0) == []
    assert client.Wait(20) == []


def test_every_request_is_handed_out_once_and_is_the_object_that_read_returned(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, pattern(1 << 16))
    by_request = {client.Read(path, i * 16, [memory.sge(i * 16, 16)], 0, str(i)): i for i in range(500)}
    assert len(by_request) == 500
    seen = set()
    while len(seen) < 500:
        for request in client.Wait(-1):
            assert request not in seen
            assert request.desc == str(by_request[request])
            seen.add(request)
    assert client.Wait(0) == []
    assert numpy.array_equal(memory.bytes[:8000], pattern(1 << 16)[:8000])


def test_a_request_tells_what_it_is_and_how_it_ended(gd2fs, client, folder, memory):
    request = client.Read(f"{folder}/nothing", 4096, [memory.sge(0, 100), memory.sge(0, 20)], 0, "weights")
    assert (request.filepath, request.offset, request.length) == (f"{folder}/nothing", 4096, 120)
    assert (request.operation, request.desc) == ("read", "weights")
    wait_for(client, request)
    for part in ["read", f"{folder}/nothing", "offset=4096", "length=120", "weights", "ENOENT", "No such file", "server"]:
        assert part in repr(request) and part in str(request)
    assert request.Done() and request.Value() == 0
    assert gd2fs.InspectStatus(request.Status())[1] == gd2fs.STATUS_CLASS_SERVER
    with pytest.raises(FileNotFoundError) as failure:
        request.Check()
    assert failure.value.filename == f"{folder}/nothing"


def test_a_request_in_flight_is_neither_done_nor_a_success(fake_stack, fake, fake_client, fake_memory):
    fake.hold(1)
    request = fake_client.Read("/x", 0, [fake_memory.sge()], 0, "")
    assert not request.Done() and "in flight" in str(request)
    assert fake_stack.gd2fs.InspectStatus(request.Status()) == (False, 1, 5, errno.EINPROGRESS)
    with pytest.raises(OSError):
        request.Check()
    assert fake_client.Wait(0) == []
    fake.step(1)
    wait_for(fake_client, request)
    assert request.Done()


def test_a_path_may_be_a_pathlib_path(client, folder, memory):
    import pathlib

    client.write_from(pathlib.PurePosixPath(folder) / "file", b"abc")
    assert client.Stat(f"{folder}/file").size == 3


@pytest.mark.parametrize(
    "path, error",
    [
        ("file", errno.EINVAL),
        ("", errno.EINVAL),
        ("/a//b", errno.EINVAL),
        ("/a/", errno.EINVAL),
        ("/./a", errno.EINVAL),
        ("/a/..", errno.EINVAL),
        ("/" + "a" * 256, errno.ENAMETOOLONG),
        ("/" + "/".join(["abcdefg"] * 513), errno.ENAMETOOLONG),
    ],
)
def test_a_path_that_is_not_in_plain_form_is_refused_at_submit(client, memory, path, error):
    for submit in (client.Read, client.Write):
        with pytest.raises(OSError) as failure:
            submit(path, 0, [memory.sge()], 0, "")
        assert failure.value.errno == error
        assert failure.value.strerror
    of_files = (client.Stat, client.Create, client.Unlink, client.Fsync)
    of_folders = (client.Mkdir, client.Readdir, client.Rmdir) if path != "/a/" else ()
    for call in of_files + of_folders:
        with pytest.raises(OSError) as failure:
            call(path)
        assert failure.value.errno == error
    assert client.InFlight() == 0


def test_a_folder_may_be_written_with_a_slash_at_its_end(client, folder):
    client.Mkdir(f"{folder}/d/")
    assert client.Readdir(f"{folder}/d/") == [] and client.Stat(f"{folder}/d").is_dir()
    client.Rmdir(f"{folder}/d/")


def test_the_longest_path_and_component_are_accepted(client, folder, memory):
    read = client.Read("/" + "a" * 255, 0, [memory.sge()], 0, "")
    longest = ("/" + "b" * 255) * 16
    assert len(longest) == 4096
    other = client.Read(longest, 0, [memory.sge()], 0, "")
    wait_for(client, read, other)
    assert read.Status() & 0xFF == other.Status() & 0xFF == errno.ENOENT


def test_a_slice_outside_its_memory_is_refused_at_submit(gd2fs, client, folder, memory):
    address, length = memory.iomem.address, memory.iomem.length
    for at, size in [
        (address - 1, 2),
        (address, length + 1),
        (address + length, 1),
        (address + 1, 2**64 - 1),
        (0, 1),
        (2**64 - 1, 1),
    ]:
        with pytest.raises(OSError) as failure:
            client.Read(f"{folder}/x", 0, [gd2fs.SGE(at, size, memory.iomem)], 0, "")
        assert failure.value.errno == errno.EINVAL


def test_no_slice_unknown_flags_and_overflows_are_refused_at_submit(client, folder, memory):
    path = f"{folder}/x"
    for offset, sges, flags in [
        (0, [], 0),
        (0, [memory.sge()], 1),
        (0, [memory.sge()], 0x8000),
        (0, [memory.sge()], 0x10000),
        (2**63 - 1, [memory.sge()], 0),
        (2**64 - 1, [memory.sge()], 0),
    ]:
        with pytest.raises(OSError) as failure:
            client.Write(path, offset, sges, flags, "")
        assert failure.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        client.Stat(path)


def test_deregistered_memory_is_refused_at_submit(client, folder, memory):
    sge = memory.sge()
    client.DeregIOMEM(memory.iomem)
    assert not memory.iomem.registered
    with pytest.raises(OSError) as failure:
        client.Read(f"{folder}/x", 0, [sge], 0, "")
    assert failure.value.errno == errno.EINVAL
    with pytest.raises(OSError) as failure:
        client.DeregIOMEM(memory.iomem)
    assert failure.value.errno == errno.EINVAL


def test_memory_of_another_client_is_refused(stack, client, folder, memory):
    with stack.connect() as other:
        theirs = Memory(other, 4096)
        with pytest.raises(OSError) as failure:
            client.Read(f"{folder}/x", 0, [theirs.sge()], 0, "")
        assert failure.value.errno == errno.EINVAL
        with pytest.raises(OSError) as failure:
            client.DeregIOMEM(theirs.iomem)
        assert failure.value.errno == errno.EINVAL


def test_memory_that_cannot_be_is_not_registered(client):
    for address, length in [(4096, 0), (2**64 - 4096, 8192), (0, 4096)]:
        with pytest.raises(OSError) as failure:
            client.RegIOMEM(address, length)
        assert failure.value.errno == errno.EINVAL
        assert failure.value.strerror


def test_65535_slices_go_and_one_more_is_a_value_error(gd2fs, client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, pattern(65535))
    sges = [memory.sge(i, 1) for i in range(65535)]
    read = client.Read(path, 0, sges, 0, "")
    wait_for(client, read)
    assert (read.Status(), read.Value()) == (0, 65535)
    assert numpy.array_equal(memory.bytes[:65535], pattern(65535))
    with pytest.raises(ValueError, match="65535"):
        client.Read(path, 0, [*sges, memory.sge(0, 1)], 0, "")
    assert gd2fs.SGES_MAX == 65535


@pytest.mark.parametrize("address", [-1, 2**64])
def test_numbers_that_no_address_has_are_value_errors(gd2fs, client, memory, address):
    with pytest.raises(ValueError):
        gd2fs.SGE(address, 1, memory.iomem)
    with pytest.raises(ValueError):
        gd2fs.SGE(memory.iomem.address, address, memory.iomem)
    with pytest.raises(ValueError):
        client.RegIOMEM(address, 1)
    with pytest.raises(ValueError):
        client.Read("/x", address, [memory.sge()], 0, "")


def test_arguments_of_a_wrong_kind_are_type_errors(gd2fs, client, memory):
    for sges in [None, 5, [memory.iomem], [None], memory.sge()]:
        with pytest.raises(TypeError):
            client.Read("/x", 0, sges, 0, "")
    with pytest.raises(TypeError):
        client.Read(None, 0, [memory.sge()], 0, "")
    with pytest.raises(TypeError):
        client.Read("/x", "0", [memory.sge()], 0, "")
    with pytest.raises(TypeError):
        gd2fs.SGE(1, 1, None)
    with pytest.raises(ValueError):
        client.Read("/a\0b", 0, [memory.sge()], 0, "")
    assert client.InFlight() == 0


def test_numpy_integers_are_numbers(gd2fs, client, folder, memory):
    client.write_from(f"{folder}/file", b"0123456789")
    sge = gd2fs.SGE(numpy.uint64(memory.iomem.address), numpy.int32(4), memory.iomem)
    read = client.Read(f"{folder}/file", numpy.int64(3), [sge], 0, "")
    wait_for(client, read)
    assert memory.bytes[:4].tobytes() == b"3456"


def test_writing_into_a_folder_that_is_not_there_is_enoent(gd2fs, client, folder, memory):
    write = client.Write(f"{folder}/no/file", 0, [memory.sge(0, 10)], 0, "")
    wait_for(client, write)
    assert gd2fs.InspectStatus(write.Status())[1::2] == (gd2fs.STATUS_CLASS_SERVER, errno.ENOENT)


def test_a_read_or_write_of_a_folder_is_eisdir(gd2fs, client, folder, memory):
    for submit in (client.Read, client.Write):
        request = submit(folder, 0, [memory.sge(0, 10)], 0, "")
        wait_for(client, request)
        assert gd2fs.InspectStatus(request.Status())[1::2] == (gd2fs.STATUS_CLASS_SERVER, errno.EISDIR)


def test_a_stream_that_is_none_is_refused(client, memory):
    for call in (
        lambda: client.Read("/x", 0, [memory.sge()], 0, "", stream=7),
        lambda: client.ReadV("/x", 0, [memory.iomem.address], 1, memory.iomem, stream=7),
        lambda: client.ReadBatch("/x", 0, [memory.iomem.address], 1, memory.iomem, stream=7),
        lambda: client.read_into("/x", bytearray(1), stream=7),
        lambda: client.write_from("/x", bytearray(1), stream=7),
    ):
        with pytest.raises(OSError) as failure:
            call()
        assert failure.value.errno in (errno.ENOTSUP, errno.EINVAL)  # without, with a driver
    assert client.InFlight() == 0


def test_a_cluster_that_is_not_there_is_a_connection_error(stack):
    with pytest.raises(ConnectionError) as failure:
        stack.gd2fs.Client(stack.address, DATA_ADDRESS, "no-such-cluster", timeout=3000)
    assert str(failure.value)


def test_a_controller_that_is_not_there_is_a_connection_error(real_stack):
    with pytest.raises(ConnectionError) as failure:
        real_stack.gd2fs.Client("gd2fs://127.0.0.1:1", DATA_ADDRESS, "x", timeout=500)
    assert str(failure.value)


def test_addresses_come_from_the_environment(stack, monkeypatch):
    monkeypatch.setenv("GD2FS_CPADDR", stack.address)
    monkeypatch.setenv("GD2FS_DPADDR", DATA_ADDRESS)
    monkeypatch.setenv("GD2FS_CLUSTER", stack.cluster)
    with stack.gd2fs.Client() as client:
        assert client.Stat("/").is_dir()
    assert os.environ["GD2FS_CLUSTER"] == stack.cluster
