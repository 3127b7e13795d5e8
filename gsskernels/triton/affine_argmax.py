"""nearest_code and linear_argmax: argmax_v <x_n, w_v> + b_v over tiles of scores that live in registers.

    score[n, v] = sum_d x[n, d] w[v, d] + b[v]          nearest code: w = codes, b = -|c|^2 / 2
    best[n]     = max over tiles of (max over the tile), its column found by equality with the maximum
    splits      : V is cut into a few ranges so that every multiprocessor has work; a merge combines them in order

|x|^2 is the same for every code and is omitted; nothing is clamped; codes beyond V score -inf through the bias, so the
loop has no mask. Memory: 8 bytes per row and split.

Contract: half precision operands are multiplied as they are and summed in float32. `certified.py` computes float32
operands and gives the float64 answer. Equal codes have equal scores at any position, a later tile or split wins only if
it is strictly better, and the lowest column of a tile wins, so ties go to the lowest index. A maximum returns NaN only
if all its operands are NaN, so NaN never wins; a row whose scores are all NaN gives 0.

On an H200, bfloat16, 73728 x 8192: 0.705 ms at 256 features (torch.mm alone 0.565, with its argmin 1.65) and 3.89 ms at
2048 (3.42 and 4.75). docs/kernels/static.md has registers and instructions per score. cuBLAS and an argmax are faster
where the product dominates (C of thousands), because the tiles here reach a smaller share of the peak than cuBLAS; the
kernel then still saves the memory of the N x V scores.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.reference import codebook as reference
from gsskernels.triton import certified
from gsskernels.triton.codes import has_descriptors, operand, padded_bias
from gsskernels.triton.exact import exact_argmax
from gsskernels.triton.launch import architecture, launch
from gsskernels.triton.plan import Config, plan_argmax
from gsskernels.triton.rows import Rows, aligned_features, rows_of, tile_of_rows, tiles
from gsskernels.triton.tf32 import to_tf32
from gsskernels.triton.tiles import NOTHING, better, code_tile, tile_best, write_merged


def nearest_code(x: Tensor, codebook: Tensor, dim: int, precision: str | None) -> Tensor:
    if x.dtype is torch.float64:
        return reference.nearest_code(x, codebook, dim, precision)
    if x.dtype is torch.float32 and precision in (None, "fp32"):
        return certified.affine_argmax(x, codebook, None, True, dim)
    x, codebook = _operands(x, codebook, precision)
    return affine_argmax(x, codebook, padded_bias(codebook, None, True), dim)


def linear_argmax(x: Tensor, weight: Tensor, bias: Tensor | None, dim: int, precision: str | None) -> Tensor:
    if x.dtype is torch.float64:
        return reference.linear_argmax(x, weight, bias, dim, precision)
    if x.dtype is torch.float32 and precision in (None, "fp32"):
        return certified.affine_argmax(x, weight, bias, False, dim)
    x, weight = _operands(x, weight, precision)
    return affine_argmax(x, weight, padded_bias(weight, bias, False), dim)


def _operands(x: Tensor, table: Tensor, precision: str | None) -> tuple[Tensor, Tensor]:
    """Rounds to bfloat16 if asked for; operands that are still float32 then are rounded to tf32 values."""
    if precision == "bf16":
        x, table = x.bfloat16(), table.bfloat16()
    elif x.dtype is torch.float32:
        x, table = to_tf32(x), to_tf32(table)
    return x, table


def affine_argmax(x: Tensor, weight: Tensor, bias: Tensor, dim: int) -> Tensor:
    """One pass over operands of one dtype: float16, bfloat16, or float32 that holds tf32 values."""
    x, weight, dim = aligned_features(x, weight, dim)
    rows = rows_of(x, dim)
    out = torch.empty(rows.shape, dtype=torch.int64, device=x.device)
    if rows.count == 0:
        return out
    if rows.features == 0:
        exact_argmax(rows, weight, bias, False, out, None)
        return out
    config, splits = plan_argmax(rows.count, weight.shape[0], rows.features, x.dtype, architecture(x.device))
    best = torch.empty((splits, rows.count), dtype=torch.float32, device=x.device)
    index = torch.empty((splits, rows.count), dtype=torch.int32, device=x.device)
    start_argmax(rows, weight, bias, best, index, config, splits)
    write_merged(best, index, out, weight.shape[0])
    return out


def start_argmax(
    rows: Rows, weight: Tensor, bias: Tensor, best: Tensor, index: Tensor, config: Config, splits: int
) -> None:
    codes, features = weight.shape
    arch = architecture(weight.device)
    table, step = operand(weight, config.block_codes, config.block_features, arch)
    launch(
        _argmax_kernel,
        (tiles(rows, config.block_rows) * splits,),
        rows.x,
        table,
        bias,
        best,
        index,
        *rows.places,
        codes,
        features,
        step,
        splits,
        rows.count,
        BLOCK_ROWS=config.block_rows,
        BLOCK_CODES=config.block_codes,
        BLOCK_FEATURES=config.block_features,
        RESIDENT=features <= config.block_features,
        DESCRIPTOR=has_descriptors(arch),
        MASK=features % config.block_features != 0 or rows.per_batch % config.block_rows != 0,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
    )


@triton.jit
def _argmax_kernel(
    x_ptr,
    table,  # of codes: a descriptor, or where it starts
    bias_ptr,  # padded to whole tiles with -inf
    best_ptr,  # (splits, N) float32
    index_ptr,  # (splits, N) int32
    per_batch,
    batch_stride,
    row_stride,
    feature_stride,
    codes,
    features,
    step,
    splits,
    capacity,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
    RESIDENT: tl.constexpr,  # all features fit one block: x is read once and stays
    DESCRIPTOR: tl.constexpr,
    MASK: tl.constexpr,  # of rows and features, where tiles overhang
):
    # Splits of one tile of rows are neighbours: blocks that run at the same time share rows.
    tile = tl.program_id(0) // splits
    split = tl.program_id(0) - tile * splits
    batch, first_row = tile_of_rows(tile, per_batch, BLOCK_ROWS)
    r = first_row + tl.arange(0, BLOCK_ROWS)
    x_rows = x_ptr + batch * batch_stride + r.to(tl.int64)[:, None] * row_stride
    inside = (r < per_batch)[:, None]

    d = tl.arange(0, BLOCK_FEATURES)
    columns = tl.arange(0, BLOCK_CODES)
    best = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    index = tl.full((BLOCK_ROWS,), NOTHING, tl.int32)
    if RESIDENT:
        x = _features(x_rows + d.to(tl.int64)[None, :] * feature_stride, inside & (d[None, :] < features), MASK)

    per_split = tl.cdiv(tl.cdiv(codes, BLOCK_CODES), splits) * BLOCK_CODES
    start = split * per_split
    for first in tl.range(start, tl.minimum(start + per_split, codes), BLOCK_CODES):
        if RESIDENT:
            w = code_tile(table, first, 0, codes, features, step, BLOCK_CODES, BLOCK_FEATURES, DESCRIPTOR)
            scores = tl.dot(x, w.T, input_precision="tf32")
        else:
            scores = tl.zeros((BLOCK_ROWS, BLOCK_CODES), tl.float32)
            for c in tl.range(0, features, BLOCK_FEATURES):
                e = c + d
                x = _features(x_rows + e.to(tl.int64)[None, :] * feature_stride, inside & (e[None, :] < features), MASK)
                w = code_tile(table, first, c, codes, features, step, BLOCK_CODES, BLOCK_FEATURES, DESCRIPTOR)
                scores = tl.dot(x, w.T, scores, input_precision="tf32")
        scores += tl.load(bias_ptr + first + columns)[None, :]
        tile_max, column = tile_best(scores, columns)
        wins = better(tile_max, best, index)
        best = tl.where(wins, tile_max, best)
        index = tl.where(wins, first + column, index)

    out = split.to(tl.int64) * capacity + batch * per_batch + r
    tl.store(best_ptr + out, best, mask=r < per_batch)
    tl.store(index_ptr + out, index, mask=r < per_batch)


@triton.jit
def _features(pointers, inside, MASK: tl.constexpr):
    """A block of rows, zeros beyond the last row and feature."""
    return tl.load(pointers, mask=inside, other=0.0) if MASK else tl.load(pointers)
