"""The argmax with float64 scores, for rows that the fast passes could not decide and for small problems.

    score[n, v] = sum_d x[n, d] w[v, d] + b[v]  in float64; for codes b = -(sum_d c[v, d]^2) / 2

Products of float32 values are exact in float64. Before Blackwell they are tiles of a matrix product, with matrix
instructions where the GPU has them. On Blackwell, where Triton cannot multiply float64 matrices, they are an outer
product of registers. Codes with equal values have equal scores, so ties go to the lowest index. NaN never wins.

Right on an H200, timed as part of certified.py. At the 67 TFLOP/s of an H200's datasheet all of 73728 x 8192 x 256
would take 4.6 ms. Consumer GPUs, whose float64 rate is a sixty-fourth of their float32 rate, are slow where rows tie.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.launch import architecture, launch
from gsskernels.triton.plan import Config, resident_programs, splits_for
from gsskernels.triton.rows import RowList, Rows, row_offsets
from gsskernels.triton.tiles import NOTHING, better, merge

CONFIG = Config(block_rows=32, block_codes=64, num_warps=8, num_stages=2)


def exact_argmax(
    rows: Rows, codes: Tensor, bias: Tensor | None, nearest: bool, out: Tensor, listed: RowList | None
) -> None:
    """Writes the index of every row, or of every listed row, to `out`."""
    num_codes, features = codes.shape
    device = rows.x.device
    arch = architecture(device)
    tiles = triton.cdiv(rows.count, CONFIG.block_rows)
    # A list is usually short: the codes are cut into many ranges, so that few rows still occupy the whole GPU.
    splits = splits_for(tiles if listed is None else 1, num_codes, CONFIG.block_codes, arch)
    best = torch.empty((splits, rows.count), dtype=torch.float64, device=device)
    index = torch.empty((splits, rows.count), dtype=torch.int32, device=device)
    matrix_units = arch.capability < 100
    listing = (None, None) if listed is None else (listed.rows, listed.count)
    programs = tiles * splits if listed is None else min(tiles * splits, resident_programs(arch, CONFIG))
    launch(
        _exact_kernel,
        (programs,),
        rows.x,
        *listing,
        codes,
        bias,
        best,
        index,
        *rows.places,
        num_codes,
        features,
        *codes.stride(),
        0 if bias is None else bias.stride(0),
        splits,
        rows.count,
        NEAREST=nearest,
        MATRIX_UNITS=matrix_units,
        BLOCK_ROWS=CONFIG.block_rows,
        BLOCK_CODES=CONFIG.block_codes,
        BLOCK_FEATURES=16 if matrix_units else 1,
        num_warps=CONFIG.num_warps,
        num_stages=CONFIG.num_stages,
    )
    block = 128
    grid = (triton.cdiv(rows.count, block),)
    launch(_write_kernel, grid, *listing, best, index, out, num_codes, splits, rows.count, BLOCK=block)


@triton.jit
def _exact_kernel(
    x_ptr,
    list_ptr,
    count_ptr,
    codes_ptr,
    bias_ptr,
    best_ptr,
    index_ptr,
    per_batch,
    batch_stride,
    row_stride,
    feature_stride,
    codes,
    features,
    code_stride,
    code_feature_stride,
    bias_stride,
    splits,
    capacity,
    NEAREST: tl.constexpr,
    MATRIX_UNITS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
):
    count = capacity if list_ptr is None else tl.load(count_ptr)
    columns = tl.arange(0, BLOCK_CODES)
    per_split = tl.cdiv(tl.cdiv(codes, BLOCK_CODES), splits) * BLOCK_CODES
    for item in tl.range(tl.program_id(0), tl.cdiv(count, BLOCK_ROWS) * splits, tl.num_programs(0)):
        tile = item // splits
        split = item - tile * splits
        r = tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        clamped = tl.minimum(r, count - 1)
        n = clamped.to(tl.int64) if list_ptr is None else tl.load(list_ptr + clamped)
        x_rows = x_ptr + row_offsets(n, per_batch, batch_stride, row_stride)
        best = tl.full((BLOCK_ROWS,), float("-inf"), tl.float64)
        index = tl.full((BLOCK_ROWS,), NOTHING, tl.int32)
        start = split * per_split
        for first in tl.range(start, tl.minimum(start + per_split, codes), BLOCK_CODES):
            v = first + columns
            code_rows = codes_ptr + tl.minimum(v, codes - 1).to(tl.int64) * code_stride
            scores = tl.zeros((BLOCK_ROWS, BLOCK_CODES), tl.float64)
            squares = tl.zeros((BLOCK_CODES,), tl.float64)
            for c in tl.range(0, features, BLOCK_FEATURES):
                if MATRIX_UNITS:
                    d = c + tl.arange(0, BLOCK_FEATURES)
                    inside = d < features
                    x_block = x_rows[:, None] + d.to(tl.int64)[None, :] * feature_stride
                    w_block = code_rows[:, None] + d.to(tl.int64)[None, :] * code_feature_stride
                    x = tl.load(x_block, mask=inside[None, :], other=0.0).to(tl.float64)
                    w = tl.load(w_block, mask=inside[None, :], other=0.0).to(tl.float64)
                    scores = tl.dot(x, w.T, scores, out_dtype=tl.float64)
                    if NEAREST:
                        squares += tl.sum(w * w, 1)
                else:
                    x = tl.load(x_rows + tl.cast(c, tl.int64) * feature_stride).to(tl.float64)
                    w = tl.load(code_rows + tl.cast(c, tl.int64) * code_feature_stride).to(tl.float64)
                    scores += x[:, None] * w[None, :]
                    if NEAREST:
                        squares += w * w
            if NEAREST:
                bias = -0.5 * squares
            elif bias_ptr is not None:
                bias = tl.load(bias_ptr + tl.minimum(v, codes - 1) * bias_stride).to(tl.float64)
            else:
                bias = squares
            scores += tl.where(v < codes, bias, float("-inf"))[None, :]
            tile_max = tl.max(scores, 1)
            column = tl.min(tl.where(scores == tile_max[:, None], columns[None, :], NOTHING), 1)
            wins = better(tile_max, best, index)
            best = tl.where(wins, tile_max, best)
            index = tl.where(wins, first + column, index)
        at = split.to(tl.int64) * capacity + r
        tl.store(best_ptr + at, best, mask=r < count)
        tl.store(index_ptr + at, index, mask=r < count)


@triton.jit
def _write_kernel(list_ptr, count_ptr, best_ptr, index_ptr, out_ptr, codes, splits, capacity, BLOCK: tl.constexpr):
    count = capacity if list_ptr is None else tl.load(count_ptr)
    if tl.program_id(0) * BLOCK >= count:
        return
    r = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = r < count
    best, index = merge(best_ptr, index_ptr, r, ok, capacity, splits, BLOCK)
    n = r if list_ptr is None else tl.load(list_ptr + r, mask=ok, other=0)
    tl.store(out_ptr + n, tl.where(index < codes, index, 0).to(tl.int64), mask=ok)
