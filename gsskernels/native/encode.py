"""Encodes on the CPU: the arguments of src/encode.cpp."""

import os

import torch
from torch import Tensor

from gsskernels.native import library


def maskige_encode(
    labels: Tensor,
    palette: Tensor,
    scale: float,
    shift: float,
    ignore_index: int,
    ignore_color: tuple[float, ...],
    dtype: torch.dtype,
) -> Tensor:
    *leading, height, width = labels.shape
    out = torch.empty((*leading, 3, height, width), dtype=dtype)
    pixels = height * width
    if pixels == 0 or (labels.dim() > 3 and not labels.is_contiguous()):
        labels = labels.reshape(-1, height, width) if pixels else labels.new_empty(0, 1, 1)
    image_stride = pixels if labels.is_contiguous() or labels.dim() == 2 else labels.stride(0)
    images = labels.numel() // pixels if pixels else 0
    status = library.functions.maskige_encode(
        labels.data_ptr(),
        library.DTYPES[labels.dtype],
        images,
        height,
        width,
        image_stride,
        labels.stride(-2),
        labels.stride(-1),
        palette.data_ptr(),
        library.DTYPES[palette.dtype],
        palette.shape[0],
        palette.stride(0),
        palette.stride(1),
        scale,
        shift,
        min(max(ignore_index, -1), 2**62),
        *ignore_color,
        out.data_ptr(),
        library.DTYPES[dtype],
        3 * pixels,
        pixels,
        1,
        CACHE_BYTES,
        torch.get_num_threads(),
    )
    if status:
        library.check(status)
    return out


def _last_cache_bytes() -> int:
    try:
        return os.sysconf("SC_LEVEL3_CACHE_SIZE") or 2**24
    except (ValueError, OSError, AttributeError):  # this system does not know the name
        return 2**24


# Outputs with more bytes than this are written past the caches.
CACHE_BYTES = _last_cache_bytes()
