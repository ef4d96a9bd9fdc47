"""Finds the memory behind whatever a program reads into or writes from."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any

from ._pygd2fs import _Hold

if TYPE_CHECKING:
    import numpy
    import torch

def hold(target: object, *, writable: bool) -> _Hold:
    """The memory of a torch tensor (of the CPU or a CUDA GPU), a numpy array, an object with the buffer
    protocol, with __cuda_array_interface__ or with DLPack, kept where it is as long as the result lives.
    Nothing is copied.

    ValueError: not C-contiguous, read-only though it is to be written, or no plain bytes. OSError with
    ENOTSUP: memory of another kind of device. TypeError: none of these."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(target, torch.Tensor):
        return _hold_tensor(target)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(target, numpy.ndarray):
        return _hold_array(target, writable)
    if hasattr(target, "__cuda_array_interface__"):
        return _hold_cuda_array(target, writable)
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
        "a memoryview, a numpy array or a torch tensor"
    )


def _hold_tensor(tensor: torch.Tensor) -> _Hold:
    import torch

    if tensor.device.type not in ("cpu", "cuda"):
        raise OSError(errno.ENOTSUP, f"neither host memory nor CUDA's: the tensor is on {tensor.device}")
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


def _hold_cuda_array(target: Any, writable: bool) -> _Hold:
    interface = target.__cuda_array_interface__
    address, read_only = interface["data"]
    item_bytes = int(interface["typestr"][2:])
    if interface["typestr"][1] == "O":
        raise ValueError("the elements are Python objects, not bytes")
    if interface.get("mask") is not None:
        raise ValueError("the array has a mask")
    length, contiguous = item_bytes, True
    strides = interface.get("strides")
    for dimension in range(len(interface["shape"]) - 1, -1, -1):
        size = interface["shape"][dimension]
        if strides is not None and size > 1 and strides[dimension] != length:
            contiguous = False
        length *= size
    if length and not contiguous:
        raise ValueError("the memory is not C-contiguous")
    if writable and read_only:
        raise ValueError("the memory is read-only")
    return _Hold.from_address(address or 0, length, target)


def _hold_dlpack(target: Any, writable: bool) -> _Hold:
    device, number = target.__dlpack_device__()
    kind = int(device)
    # The CPU, CUDA, host memory that CUDA or ROCm has pinned, CUDA's managed memory.
    if kind not in (1, 2, 3, 11, 13):
        raise OSError(errno.ENOTSUP, f"neither host memory nor CUDA's: the tensor is on device {kind}:{number}")
    # -1: the producer shall not make anybody wait; `stream=` does that.
    stream = {"stream": -1} if kind in (2, 13) else {}
    try:
        capsule = target.__dlpack__(max_version=(1, 0), **stream)
    except TypeError:  # an exporter from before DLPack 1.0
        capsule = target.__dlpack__(**stream)
    return _Hold.from_dlpack(capsule, writable)
