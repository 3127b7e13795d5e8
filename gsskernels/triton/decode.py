"""Decodes maskiges: the class of the nearest palette colour of every pixel. colors.py finds it.

    label[b, y, x] = argmin_k |image[b, :, y, x] - palette[k]|^2, and the margin
    size, "vote": decode at the size of the image, then resize that label map by the vote of resize.py
    size, "rgb": blend the four neighbours' colours, h0 (w0 a + w1 b) + h1 (w0 c + w1 d), and decode those

Contract: the labels of the reference bit for bit; margins, and the colours that "rgb" blends, up to float32 rounding.
Images of every dtype and layout (planar, channels last, any strides) are read once and without a copy.

Few classes or few pixels are searched by brute force with 12 instructions per class and pixel; the contract does not
allow fused multiply-add. Otherwise cells.py first prepares the palette on the device. Programs are single warps, so the
branch between cells with one candidate (no distance at all) and other cells costs only the warps that need it.

1024 x 2048 on an H200: 23.5 us from uint8 and 25.8 from float32 for K = 19, 36.4 and 39.7 for K = 150, cells included;
torch.compile 45 and 474. That is twice the time of the instructions: latencies dominate. Compiled for sm_80 to sm_100:
no spills, at most 116 registers (133 with margins or "rgb"), loads of 16 bytes. Instructions per pixel: 42 where the
cells of a warp have one candidate each, 30 more per candidate otherwise, 13 per class by brute force. An H200 has time
for 89 while it reads float32.
Slow case: noise. Where neighbouring pixels share no cells, every warp walks the longest list of its pixels.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton import cells
from gsskernels.triton.cells import Cells, build_cells
from gsskernels.triton.colors import nearest, wall_distance
from gsskernels.triton.launch import launch
from gsskernels.triton.lines import Lines, lines, segment, stacked
from gsskernels.triton.resize import Size, axis, scales, vote

BLOCK = 256  # pixels a program
NUM_WARPS = 1
FEW_CLASSES = 8  # up to here brute force costs no more than reading the image
WORTH_PREPARING = 2**24  # pixels times classes that brute force searches in the time of building cells


def maskige_decode(
    maskige: Tensor, palette: Tensor, size: Size | None, resize: str, margin: bool
) -> tuple[Tensor, Tensor | None]:
    colors = contiguous_float(palette)
    num_classes = colors.shape[0]
    labels, distance = _empty(maskige, size or size_of(maskige), num_classes, margin)
    if labels.numel() == 0:
        return labels, distance
    images = stacked(readable(maskige), 3)
    measured = distance if num_classes > 1 else None  # the margin of a single class is +inf everywhere
    if size is None or resize == "rgb":
        _decode(images, colors, labels, measured, blended=size is not None)
        return labels, distance
    small, small_distance = _empty(images, size_of(images), num_classes, measured is not None)
    _decode(images, colors, small, small_distance, blended=False)
    vote(small, small_distance, labels, measured, num_classes, -1, checked=False)
    return labels, distance


def size_of(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def contiguous_float(palette: Tensor) -> Tensor:
    ready = palette.dtype is torch.float32 and palette.is_contiguous()
    return palette if ready else palette.float().contiguous()


def readable(maskige: Tensor) -> Tensor:
    """Rounds float64 images to float32; kernels read every other dtype."""
    return maskige.float() if maskige.dtype is torch.float64 else maskige


def _empty(images: Tensor, size: Size, num_classes: int, margin: bool) -> tuple[Tensor, Tensor | None]:
    shape = (*images.shape[:-3], *size)
    labels = images.new_empty(shape, dtype=torch.uint8 if num_classes <= 255 else torch.int32)
    if not margin:
        return labels, None
    if num_classes == 1:
        return labels, images.new_full(shape, math.inf, dtype=torch.float32)
    return labels, images.new_empty(shape, dtype=torch.float32)


def _decode(images: Tensor, colors: Tensor, labels: Tensor, margin: Tensor | None, blended: bool) -> None:
    """Fills the labels of images (B, 3, H, W). With `blended` their colours are first resized to the labels."""
    line, places, _ = image_lines(images, size_of(labels), blended)
    prepared = prepare(colors, labels.numel(), margin is not None)
    launch(
        _decode_kernel,
        (line.programs(BLOCK),),
        images,
        colors,
        prepared.grid if prepared else None,
        prepared.cells if prepared else None,
        labels,
        margin,
        colors.shape[0],
        line.rows,
        line.columns,
        line.blocks(BLOCK),
        *places,
        BITS=prepared.bits if prepared else 0,
        BLENDED=blended,
        BLOCK=BLOCK,
        num_warps=NUM_WARPS,
        exact=True,
    )


def prepare(colors: Tensor, pixels: int, margin: bool) -> Cells | None:
    """Builds the cells of the palette, or returns None where brute force is faster."""
    num_classes = colors.shape[0]
    if not FEW_CLASSES < num_classes <= cells.MOST_CLASSES or pixels * num_classes < WORTH_PREPARING:
        return None
    return build_cells(colors, 2 if margin else 1)


def image_lines(
    images: Tensor, size: Size, blended: bool, *others: Tensor
) -> tuple[Lines, tuple[int | float, ...], list[tuple[int, int]]]:
    """Lines of the result and of `others` of its size, arguments for reading colours, strides of the others."""
    height, width = images.shape[-2:]
    batch, channel, row, column = images.stride()
    if blended:
        shared, strides = Lines(images.shape[0], *size), [(o.stride(-2), o.stride(-1)) for o in others]
    else:
        shared, [(row, column), *strides] = lines(images, *others)
    return shared, (batch, channel, row, column, height, width, *scales((height, width), size)), strides


@triton.jit
def _decode_kernel(
    image_ptr,
    colors_ptr,
    grid_ptr,
    cells_ptr,
    labels_ptr,
    margin_ptr,
    num_classes,
    rows,
    columns,
    blocks,
    image_batch,
    image_channel,
    image_row,
    image_column,
    height,
    width,
    scale_y,
    scale_x,
    BITS: tl.constexpr,
    BLENDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    image, row, column, inside = segment(rows, columns, blocks, BLOCK)
    image_ptr += image * image_batch
    if BLENDED:
        r, g, b = blended_pixels(
            image_ptr, row, column, inside, image_channel, image_row, image_column, height, width, scale_y, scale_x
        )
    else:
        r, g, b = pixels(image_ptr + row * image_row + column * image_column, inside, image_channel)
    MARGIN: tl.constexpr = margin_ptr is not None
    first, best, second = nearest(r, g, b, inside, colors_ptr, grid_ptr, cells_ptr, num_classes, BITS, MARGIN)
    offset = (image * rows + row) * columns + column
    tl.store(labels_ptr + offset, first.to(labels_ptr.dtype.element_ty), mask=inside)
    if MARGIN:
        tl.store(margin_ptr + offset, wall_distance(r, g, b, first, best, second, colors_ptr), mask=inside)


@triton.jit
def pixels(pixel_ptr, inside, channel_stride):
    green_ptr = pixel_ptr + channel_stride
    r = tl.load(pixel_ptr, mask=inside, other=0)
    g = tl.load(green_ptr, mask=inside, other=0)
    b = tl.load(green_ptr + channel_stride, mask=inside, other=0)  # twice the stride may not fit 32 bits
    return r.to(tl.float32), g.to(tl.float32), b.to(tl.float32)


@triton.jit
def blended_pixels(
    image_ptr, row, column, inside, image_channel, image_row, image_column, height, width, scale_y, scale_x
):
    """Colours of a bilinear resize."""
    top, bottom, h0, h1 = axis(row, height, scale_y)
    left, right, w0, w1 = axis(column, width, scale_x)
    upper, lower = image_ptr + top.to(tl.int64) * image_row, image_ptr + bottom.to(tl.int64) * image_row
    left, right = left.to(tl.int64) * image_column, right.to(tl.int64) * image_column
    ar, ag, ab = pixels(upper + left, inside, image_channel)
    br, bg, bb = pixels(upper + right, inside, image_channel)
    cr, cg, cb = pixels(lower + left, inside, image_channel)
    dr, dg, db = pixels(lower + right, inside, image_channel)
    r = h0 * (w0 * ar + w1 * br) + h1 * (w0 * cr + w1 * dr)
    g = h0 * (w0 * ag + w1 * bg) + h1 * (w0 * cg + w1 * dg)
    b = h0 * (w0 * ab + w1 * bb) + h1 * (w0 * cb + w1 * db)
    return r, g, b
