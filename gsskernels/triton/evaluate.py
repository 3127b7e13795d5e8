"""Scores maskiges: decodes, resizes to the target and counts, without a label map of the size of the target.

    counts[t, p] = number of pixels with target t whose decoded class is p

"vote" decodes at the size of the image into a label map, usually a sixteenth of the target, and then votes and counts
in one kernel. At equal sizes, and with "rgb", the decoding kernel counts. Arithmetic and contract are those of
decode.py, resize.py and confusion.py.

256 x 512 against 1024 x 2048 on an H200: 36 us for K = 19, of which voting and counting take 22 and the sum of the
partial counts 6; 45 for K = 150. Compiled for sm_80 to sm_100: at most 128 registers, no spills; voting and counting
take 71 instructions per pixel where all neighbours in a warp are equal, 59 more where it votes.
Least gain: at equal sizes it only saves writing and reading the labels once.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton import confusion, decode
from gsskernels.triton import resize as voting
from gsskernels.triton.colors import nearest
from gsskernels.triton.confusion import Tables, count, ignored_class, wide
from gsskernels.triton.decode import blended_pixels, contiguous_float, image_lines, pixels, prepare, size_of
from gsskernels.triton.launch import launch
from gsskernels.triton.lines import segment, stacked
from gsskernels.triton.resize import axis, elected, scales, tile


def maskige_evaluate(maskige: Tensor, palette: Tensor, target: Tensor, ignore_index: int, resize: str) -> Tensor:
    colors = contiguous_float(palette)
    num_classes = colors.shape[0]
    tables = Tables(maskige.device, num_classes, target.numel())
    if target.numel() == 0:
        return tables.sum()
    images, targets = stacked(decode.readable(maskige), 3), stacked(target, 2)
    ignored = ignored_class(ignore_index, num_classes)
    same_size = images.shape[-2:] == targets.shape[-2:]
    if same_size or resize == "rgb":
        _decode_and_count(images, colors, targets, tables, ignored, blended=not same_size)
    else:
        labels = decode.maskige_decode(images, colors, None, "vote", margin=False)[0]
        _vote_and_count(labels, num_classes, targets, tables, ignored)
    return tables.sum()


def _decode_and_count(
    images: Tensor, colors: Tensor, target: Tensor, tables: Tables, ignored: int, blended: bool
) -> None:
    line, places, [(row, column)] = image_lines(images, size_of(target), blended, target)
    num_classes = colors.shape[0]
    prepared = prepare(colors, target.numel(), margin=False)
    launch(
        _decode_and_count_kernel,
        (line.programs(decode.BLOCK),),
        images,
        colors,
        prepared.grid if prepared else None,
        prepared.cells if prepared else None,
        target,
        tables.counts,
        tables.number,
        num_classes,
        ignored,
        line.rows,
        line.columns,
        line.blocks(decode.BLOCK),
        target.stride(0),
        row,
        column,
        *places,
        BITS=prepared.bits if prepared else 0,
        BLENDED=blended,
        WIDE=wide(num_classes),
        RUN=confusion.RUN,
        BLOCK=decode.BLOCK,
        num_warps=decode.NUM_WARPS,
        exact=True,
    )


@triton.jit
def _decode_and_count_kernel(
    image_ptr,
    colors_ptr,
    grid_ptr,
    cells_ptr,
    target_ptr,
    counts_ptr,
    tables,
    num_classes,
    ignored,
    rows,
    columns,
    blocks,
    target_batch,
    target_row,
    target_column,
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
    WIDE: tl.constexpr,
    RUN: tl.constexpr,
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
    target = tl.load(
        target_ptr + image * target_batch + row * target_row + column * target_column, mask=inside, other=0
    )
    first, _, _ = nearest(r, g, b, inside, colors_ptr, grid_ptr, cells_ptr, num_classes, BITS, False)
    count(counts_ptr, tables, first, target, inside, num_classes, ignored, WIDE, RUN)


def _vote_and_count(labels: Tensor, num_classes: int, target: Tensor, tables: Tables, ignored: int) -> None:
    batch, height, width = labels.shape
    out_height, out_width = target.shape[-2:]
    blocks, groups = triton.cdiv(out_width, voting.BLOCK), triton.cdiv(out_height, voting.ROWS)
    launch(
        _vote_and_count_kernel,
        (batch * groups * blocks,),
        labels,
        target,
        tables.counts,
        tables.number,
        num_classes,
        ignored,
        height,
        width,
        out_height,
        out_width,
        *scales((height, width), (out_height, out_width)),
        *target.stride(),
        groups,
        blocks,
        ROWS=voting.ROWS,
        WIDE=wide(num_classes),
        RUN=confusion.RUN,
        BLOCK=voting.BLOCK,
        num_warps=voting.NUM_WARPS,
        exact=True,
    )


@triton.jit
def _vote_and_count_kernel(
    labels_ptr,
    target_ptr,
    counts_ptr,
    tables,
    num_classes,
    ignored,
    height,
    width,
    out_height,
    out_width,
    scale_y,
    scale_x,
    target_batch,
    target_row,
    target_column,
    groups,
    blocks,
    ROWS: tl.constexpr,
    WIDE: tl.constexpr,
    RUN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    image, first_row, column = tile(groups, blocks, ROWS, BLOCK)
    inside = column < out_width
    left, right, w0, w1 = axis(column, width, scale_x)
    labels_ptr += image * height * width
    target_ptr += image * target_batch + column.to(tl.int64) * target_column
    for row in range(first_row, tl.minimum(first_row + ROWS, out_height)):
        top, bottom, h0, h1 = axis(row, height, scale_y)
        upper, lower = labels_ptr + top.to(tl.int64) * width, labels_ptr + bottom.to(tl.int64) * width
        a = tl.load(upper + left, mask=inside, other=0).to(tl.int32)
        b = tl.load(upper + right, mask=inside, other=0).to(tl.int32)
        c = tl.load(lower + left, mask=inside, other=0).to(tl.int32)
        d = tl.load(lower + right, mask=inside, other=0).to(tl.int32)
        winner = elected(a, b, c, d, w0, w1, h0, h1)
        target = tl.load(target_ptr + tl.cast(row, tl.int64) * target_row, mask=inside, other=0)
        count(counts_ptr, tables, winner, target, inside, num_classes, ignored, WIDE, RUN)
