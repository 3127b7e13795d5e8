"""Decodes, scores and resizes on the CPU: the arguments of src/decode.cpp and src/label_resize.cpp."""

import math

import torch
from torch import Tensor

from gsskernels import reference
from gsskernels.native.library import DTYPES, check, functions
from gsskernels.native.prepared import prepared

Size = tuple[int, int]

_RESIZE = {"vote": 1, "rgb": 2}


def _colors(palette: Tensor) -> Tensor:
    ready = palette.dtype is torch.float32 and palette.is_contiguous()
    return palette if ready else palette.float().contiguous()


def _stack(maps: Tensor, dims: int) -> tuple[Tensor, int, tuple[int, ...]]:
    """Merges all dimensions before the last `dims` into one. Returns the tensor, its number of maps and its strides.

    The caller keeps the tensor until the C function has returned.
    """
    if maps.dim() == dims:
        return maps, 1, (0, *maps.stride())
    if maps.dim() > dims + 1:
        maps = maps.reshape(-1, *maps.shape[-dims:])
    return maps, maps.shape[0], maps.stride()


def maskige_decode(
    maskige: Tensor, palette: Tensor, size: Size | None, resize: str, margin: bool
) -> tuple[Tensor, Tensor | None]:
    shape = maskige.shape
    height, width = shape[-2:]
    out_height, out_width = size or (height, width)
    colors = _colors(palette)
    num_classes = colors.shape[0]
    out_shape = (*shape[:-3], out_height, out_width)
    labels = torch.empty(out_shape, dtype=torch.uint8 if num_classes <= 255 else torch.int32, device="cpu")
    distance = None
    if margin:
        distance = (
            torch.empty(out_shape, dtype=torch.float32, device="cpu")
            if num_classes > 1
            else torch.full(out_shape, math.inf, dtype=torch.float32, device="cpu")
        )
    if labels.numel() == 0:
        return labels, distance
    images, batch, strides = _stack(maskige, 3)
    address = colors.data_ptr()
    wants_margin = margin and num_classes > 1
    pixels = batch * (out_height * out_width if resize == "rgb" else height * width)
    cells = prepared(address, num_classes, 2 if wants_margin else 1, pixels)
    check(
        functions.maskige_decode(
            images.data_ptr(),
            DTYPES[images.dtype],
            batch,
            height,
            width,
            *strides,
            address,
            num_classes,
            cells and cells.handle,
            out_height,
            out_width,
            0 if size is None else _RESIZE[resize],
            labels.data_ptr(),
            distance.data_ptr() if distance is not None and wants_margin else None,
            torch.get_num_threads(),
        )
    )
    return labels, distance


def maskige_evaluate(maskige: Tensor, palette: Tensor, target: Tensor, ignore_index: int, resize: str) -> Tensor:
    height, width = maskige.shape[-2:]
    out_height, out_width = target.shape[-2:]
    colors = _colors(palette)
    num_classes = colors.shape[0]
    if target.numel() == 0:
        return torch.zeros(num_classes, num_classes, dtype=torch.int64, device="cpu")
    counts = torch.empty(num_classes, num_classes, dtype=torch.int64, device="cpu")
    images, batch, strides = _stack(maskige, 3)
    wanted, _, target_strides = _stack(target, 2)
    address = colors.data_ptr()
    same_size = (height, width) == (out_height, out_width)
    pixels = batch * (out_height * out_width if resize == "rgb" else height * width)
    cells = prepared(address, num_classes, 1, pixels)
    check(
        functions.maskige_evaluate(
            images.data_ptr(),
            DTYPES[images.dtype],
            batch,
            height,
            width,
            *strides,
            address,
            num_classes,
            cells and cells.handle,
            out_height,
            out_width,
            0 if same_size else _RESIZE[resize],
            wanted.data_ptr(),
            DTYPES[wanted.dtype],
            *target_strides,
            ignore_index,
            counts.data_ptr(),
            torch.get_num_threads(),
        )
    )
    return counts


def label_resize(labels: Tensor, size: Size, num_classes: int, ignore_index: int) -> Tensor:
    if num_classes >= 2**31:  # the C function holds classes in int32
        return reference.label_resize(labels, size, num_classes, ignore_index)
    shape = labels.shape
    height, width = shape[-2:]
    out = torch.empty((*shape[:-2], *size), dtype=labels.dtype, device="cpu")
    if out.numel() == 0:
        return out
    maps, batch, strides = _stack(labels, 2)
    check(
        functions.label_resize(
            maps.data_ptr(),
            DTYPES[maps.dtype],
            batch,
            height,
            width,
            *strides,
            num_classes,
            ignore_index,
            *size,
            out.data_ptr(),
            torch.get_num_threads(),
        )
    )
    return out
