"""read_into, write_from and RegBuffer: whatever has memory."""

import array
import errno
import gc
import mmap
import weakref

import numpy
import pytest
import torch
from conftest import pattern, wait_for


class DLPackOnly:
    """A tensor of a library that offers DLPack and nothing else."""

    def __init__(self, tensor, device=None, versioned=True):
        self.tensor = tensor
        self.device = device
        self.versioned = versioned

    def __dlpack_device__(self):
        return self.device or self.tensor.__dlpack_device__()

    def __dlpack__(self, *, max_version=None, stream=None):
        if max_version is not None and not self.versioned:
            raise TypeError("an older DLPack")
        return self.tensor.__dlpack__(max_version=max_version) if self.versioned else self.tensor.__dlpack__()


TARGETS = {
    "bytearray": lambda: bytearray(4096),
    "memoryview": lambda: memoryview(bytearray(8192))[1000:5096],
    "mmap": lambda: mmap.mmap(-1, 4096),
    "array": lambda: array.array("I", [0] * 1024),
    "numpy bytes": lambda: numpy.zeros(4096, numpy.uint8),
    "numpy float64": lambda: numpy.zeros((8, 64), numpy.float64),
    "numpy datetime64": lambda: numpy.zeros(512, "datetime64[s]"),
    "numpy structured": lambda: numpy.zeros(512, [("a", "i4"), ("b", "f4")]),
    "numpy slice": lambda: numpy.zeros((4, 4096), numpy.uint8)[2],
    "torch float32": lambda: torch.zeros(16, 64),
    "torch bfloat16": lambda: torch.zeros(2048, dtype=torch.bfloat16),
    "torch float8": lambda: torch.zeros(4096, dtype=torch.uint8).view(torch.float8_e4m3fn),
    "torch parameter": lambda: torch.nn.Parameter(torch.zeros(1024)),
    "torch slice": lambda: torch.zeros(4, 1024)[1],
    "dlpack 1.0": lambda: DLPackOnly(torch.zeros(1024)),
    "dlpack before 1.0": lambda: DLPackOnly(torch.zeros(1024), versioned=False),
    "dlpack slice": lambda: DLPackOnly(torch.zeros(4, 1024)[3]),
}


def bytes_of(target):
    if isinstance(target, DLPackOnly):
        target = target.tensor
    if isinstance(target, torch.Tensor):
        return target.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(target, numpy.ndarray):
        return target.tobytes()
    return bytes(target)


@pytest.mark.parametrize("kind", TARGETS)
def test_memory_of_every_kind_is_filled_and_written(client, folder, kind):
    path = f"{folder}/file"
    expected = pattern(5000).tobytes()
    client.write_from(path, expected)
    target = TARGETS[kind]()
    assert client.read_into(path, target, 500) == 4096
    assert bytes_of(target) == expected[500:4596]
    assert client.write_from(f"{folder}/copy", target) == 4096
    back = bytearray(4096)
    assert client.read_into(f"{folder}/copy", back) == 4096
    assert back == expected[500:4596]


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_zero_dimensional_arrays_are_memory_too(client, folder, size):
    dtype = {1: "u1", 2: "f2", 4: "f4", 8: "f8", 16: "c16"}[size]
    client.write_from(f"{folder}/file", b"abcdefghijklmnop")
    target = numpy.zeros((), dtype)
    assert client.read_into(f"{folder}/file", target) == size
    assert target.tobytes() == b"abcdefghijklmnop"[:size]


def test_an_empty_target_moves_nothing(client, folder):
    client.write_from(f"{folder}/file", b"abc")
    for empty in (bytearray(), numpy.zeros(0), torch.zeros(0), torch.zeros(3, 0)):
        assert client.read_into(f"{folder}/file", empty) == 0
        assert client.write_from(f"{folder}/file", empty) == 0
    assert client.Stat(f"{folder}/file").size == 3


@pytest.mark.parametrize(
    "target, match",
    [
        (b"bytes", "read-only"),
        (memoryview(bytearray(8)).toreadonly(), "read-only"),
        (memoryview(bytearray(8))[::2], "contiguous"),
        (numpy.zeros((4, 4))[:, 1], "contiguous"),
        (numpy.asfortranarray(numpy.zeros((4, 4))), "contiguous"),
        (numpy.zeros(4, object), "objects"),
        (numpy.frombuffer(b"12345678", "u1"), "read-only"),
        (torch.zeros(4, 4).t(), "contiguous"),
        (torch.zeros(4, dtype=torch.complex64).conj(), "values"),
        (torch.zeros(4, 4).to_sparse(), "contiguous"),
        (DLPackOnly(torch.zeros(4, 4).t()), "contiguous"),
    ],
)
def test_memory_that_cannot_be_filled_is_a_value_error(client, target, match):
    with pytest.raises(ValueError, match=match):
        client.read_into("/x", target)
    assert client.InFlight() == 0


def test_read_only_memory_can_be_written_from(client, folder):
    for source in (b"12345678", memoryview(b"12345678"), numpy.frombuffer(b"12345678", "u1")):
        assert client.write_from(f"{folder}/file", source) == 8
    with pytest.raises(ValueError, match="contiguous"):
        client.write_from(f"{folder}/file", numpy.zeros((4, 4)).T[1:])


@pytest.mark.parametrize(
    "target",
    [
        torch.zeros(4, device="meta"),
        DLPackOnly(torch.zeros(4), device=(8, 0)),  # Metal
    ],
)
def test_memory_of_another_kind_of_device_is_refused_with_a_clear_word(client, target):
    for call in (client.read_into, client.write_from):
        with pytest.raises(OSError, match="neither host memory nor CUDA's") as failure:
            call("/x", target)
        assert failure.value.errno == errno.ENOTSUP


@pytest.mark.parametrize("target", [None, 5, "text", [1, 2], object()])
def test_what_has_no_memory_is_a_type_error(client, target):
    with pytest.raises(TypeError):
        client.read_into("/x", target)


def test_a_registered_buffer_lives_until_it_is_deregistered(gd2fs, client, folder):
    client.write_from(f"{folder}/file", b"hello world")
    target = numpy.zeros(11, numpy.uint8)
    gone = weakref.ref(target)
    iomem = client.RegBuffer(target)
    assert (iomem.address, iomem.length) == (target.ctypes.data, 11)
    del target
    gc.collect()
    assert gone() is not None
    request = client.Read(f"{folder}/file", 0, [gd2fs.SGE(iomem.address, 11, iomem)], 0, "")
    wait_for(client, request)
    assert gone().tobytes() == b"hello world"
    client.DeregIOMEM(iomem)
    gc.collect()
    assert gone() is None


def test_a_registered_bytearray_cannot_be_resized_under_a_transfer(client):
    target = bytearray(100)
    iomem = client.RegBuffer(target)
    with pytest.raises(BufferError):
        target.extend(b"x" * 1000)
    client.DeregIOMEM(iomem)
    target.extend(b"x" * 1000)


def test_a_failed_call_leaves_no_registration(stack, client, folder):
    target = bytearray(10)
    with pytest.raises(FileNotFoundError):
        client.read_into(f"{folder}/none", target)
    target.extend(b"free")
    if stack.fake:
        assert stack.fake.iomems() == 0
