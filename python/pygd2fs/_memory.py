"""Finds the memory behind whatever a program reads into or writes from."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any

from ._pygd2fs import _Hold

if TYPE_CHECKING:
    import numpy
    import torch

_HOST_ONLY = "host memory only in this version"


def refuse_stream(stream: object) -> None:
    """Only GPU memory needs a stream."""
    if stream is not None:
        raise OSError(errno.ENOTSUP, f"stream= belongs to GPU memory; {_HOST_ONLY}")


def hold(target: object, *, writable: bool) -> _Hold:
    """The memory of a torch CPU tensor, a numpy array, an object with the buffer protocol or with
    DLPack, kept where it is as long as the result lives. Nothing is copied.

    ValueError: not C-contiguous, read-only though it is to be written, or no plain bytes. OSError with
    ENOTSUP: memory of a GPU. TypeError: none of these."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(target, torch.Tensor):
        return _hold_tensor(target)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(target, numpy.ndarray):
        return _hold_array(target, writable)
    if hasattr(target, "__cuda_array_interface__"):
        raise OSError(errno.ENOTSUP, f"{_HOST_ONLY}: this is an array of a GPU")
    try:
        memoryview(target)  # type: ignore[arg-type]
    except TypeError:
        pass
    else:
        return _Hold.from_buffer(target, writable)
    if hasattr(target, "__dlpack__"):
        return _hold_dlpack(target, writable)
    raise TypeError(
        f"{type(target).__name__} has neither the buffer protocol nor DLPack; give a bytearray, "
        "a memoryview, a numpy array or a torch CPU tensor"
    )


def _hold_tensor(tensor: torch.Tensor) -> _Hold:
    import torch

    if tensor.device.type != "cpu":
        raise OSError(errno.ENOTSUP, f"{_HOST_ONLY}: the tensor is on {tensor.device}")
    if tensor.layout != torch.strided or not tensor.is_contiguous():
        raise ValueError("the tensor is not contiguous")
    if tensor.is_conj() or tensor.is_neg():
        raise ValueError("the tensor's bytes are not its values; give tensor.resolve_conj().resolve_neg()")
    return _Hold.from_address(tensor.data_ptr(), tensor.numel() * tensor.element_size(), tensor)


def _hold_array(array: numpy.ndarray[Any, Any], writable: bool) -> _Hold:
    if array.dtype.hasobject:
        raise ValueError("the elements are Python objects, not bytes")
    if not array.flags.c_contiguous:
        raise ValueError("the memory is not C-contiguous")
    # Through bytes, since some element types (datetime64, bfloat16) have no buffer protocol.
    return _Hold.from_buffer(array.reshape(-1).view("u1"), writable)


def _hold_dlpack(target: Any, writable: bool) -> _Hold:
    device, number = target.__dlpack_device__()
    if int(device) not in (1, 3, 11):  # the CPU, host memory that CUDA or ROCm has pinned
        raise OSError(errno.ENOTSUP, f"{_HOST_ONLY}: the tensor is on device {int(device)}:{number}")
    try:
        capsule = target.__dlpack__(max_version=(1, 0))
    except TypeError:  # an exporter from before DLPack 1.0
        capsule = target.__dlpack__()
    return _Hold.from_dlpack(capsule, writable)
