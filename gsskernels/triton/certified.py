"""The certified argmax of float32 operands: fast passes with an error bound, and float64 for the undecided rows.

    1. float16 products of x and the codes: best and second best score of every row
    2. rows whose gap is not above twice the error bound: again with x and codes in two float16 parts, three products
    3. rows still undecided: scores in float64

decide.py has the error bound of a score, which tells the rows that are decided.

Contract: the answer equals that of the reference, which scores in float64. Ties and near-ties reach pass 3, where equal
sums have equal bits and the lowest index wins. NaN, infinities and overflows of float16 give a bound that decides no
row.

73728 x 8192 x 256 on an H200: 1.56 ms, of it 1.23 in passes 1 and 2 and 0.33 in pass 3; torch.mm alone 6.55 in float32,
and 2.3 with the argmin in TF32, which does not decide exactly. By the same arithmetic on a CPU, 1024 rows, V = 8192, D
= 256: of independent Gaussian rows 7.9 % go to pass 2 and 1.1 % to pass 3; of rows 0.7 standard deviations from a code,
none. It is slow where most rows tie, for instance between equal codes: then all rows are scored in float64.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.codes import SplitCodes, has_descriptors, operand, split_codes
from gsskernels.triton.decide import ONE, TWO, decide
from gsskernels.triton.exact import exact_argmax
from gsskernels.triton.launch import architecture, launch
from gsskernels.triton.plan import SMALL_WORK, Config, plan_certified, resident_programs
from gsskernels.triton.rows import RowList, Rows, aligned_features, row_offsets, rows_of, tile_of_rows, tiles
from gsskernels.triton.tiles import code_tile, tile_best

MOST_FEATURES = 2**16  # with more, the bound of a float32 sum is too loose


def affine_argmax(x: Tensor, codes: Tensor, bias: Tensor | None, nearest: bool, dim: int) -> Tensor:
    x, codes, dim = aligned_features(x, codes, dim)
    rows = rows_of(x, dim)
    num_codes, features = codes.shape
    out = torch.empty(rows.shape, dtype=torch.int64, device=x.device)
    if rows.count == 0:
        return out
    if rows.count * num_codes * max(1, features) <= SMALL_WORK or not 0 < features <= MOST_FEATURES:
        exact_argmax(rows, codes, bias, nearest, out, None)
        return out
    split = split_codes(codes, bias, nearest)
    undecided = _fast_pass(rows, split, out, ONE, None)
    undecided = _fast_pass(rows, split, out, TWO, undecided)
    exact_argmax(rows, codes, bias, nearest, out, undecided)
    return out


def _fast_pass(rows: Rows, split: SplitCodes, out: Tensor, parts: int, listed: RowList | None) -> RowList:
    """Writes the answers of decided rows to `out`, for all rows or the listed ones, and returns the undecided rows."""
    num_codes, device = split.high.shape[0], rows.x.device
    arch = architecture(device)
    config, splits = plan_certified(rows.count, num_codes, rows.features, parts, listed is not None, arch)
    scores = torch.empty((2, splits, rows.count), dtype=torch.float32, device=device)
    index = torch.empty((splits, rows.count), dtype=torch.int32, device=device)
    high, step = operand(split.high, config.block_codes, config.block_features, arch)
    low, _ = operand(split.low, config.block_codes, config.block_features, arch)
    work = tiles(rows, config.block_rows) if listed is None else triton.cdiv(rows.count, config.block_rows)
    programs = work * splits if listed is None else min(work * splits, resident_programs(arch, config))
    launch(
        _fast_kernel,
        (programs,),
        rows.x,
        *((None, None) if listed is None else (listed.rows, listed.count)),
        high,
        low,
        split.bias,
        scores,
        index,
        *rows.places,
        num_codes,
        rows.features,
        step,
        splits,
        rows.count,
        PARTS=parts,
        DESCRIPTOR=has_descriptors(arch),
        **_blocks(config, rows.features),
    )
    return decide(rows, split.errors, scores, index, out, parts, config.block_codes, listed)


def _blocks(config: Config, features: int) -> dict[str, Any]:
    return {
        "BLOCK_ROWS": config.block_rows,
        "BLOCK_CODES": config.block_codes,
        "BLOCK_FEATURES": config.block_features,
        "RESIDENT": features <= config.block_features,
        "num_warps": config.num_warps,
        "num_stages": config.num_stages,
    }


@triton.jit
def _fast_kernel(
    x_ptr,
    list_ptr,  # numbers of the rows to score, or None for all
    count_ptr,
    high_table,
    low_table,
    bias_ptr,
    scores_ptr,  # (2, splits, N) best and second best
    index_ptr,  # (splits, N)
    per_batch,
    batch_stride,
    row_stride,
    feature_stride,
    codes,
    features,
    step,
    splits,
    capacity,
    PARTS: tl.constexpr,
    DESCRIPTOR: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    places = splits * tl.cast(capacity, tl.int64)
    if list_ptr is None:
        tile = tl.program_id(0) // splits
        split = tl.program_id(0) - tile * splits
        batch, first_row = tile_of_rows(tile, per_batch, BLOCK_ROWS)
        r = first_row + tl.arange(0, BLOCK_ROWS)
        rows_ptr = x_ptr + batch * batch_stride + r.to(tl.int64) * row_stride
        best, second, index = _best_two(
            rows_ptr, r < per_batch, feature_stride, high_table, low_table, bias_ptr, codes, features, step, split,
            splits, PARTS, DESCRIPTOR, BLOCK_ROWS, BLOCK_CODES, BLOCK_FEATURES, RESIDENT,
        )  # fmt: skip
        out = split.to(tl.int64) * capacity + batch * per_batch + r
        tl.store(scores_ptr + out, best, mask=r < per_batch)
        tl.store(scores_ptr + places + out, second, mask=r < per_batch)
        tl.store(index_ptr + out, index, mask=r < per_batch)
    else:
        count = tl.load(count_ptr)
        work = tl.cdiv(count, BLOCK_ROWS) * splits
        for item in tl.range(tl.program_id(0), work, tl.num_programs(0)):
            tile = item // splits
            split = item - tile * splits
            r = tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
            n = tl.load(list_ptr + r, mask=r < count, other=0)
            rows_ptr = x_ptr + row_offsets(n, per_batch, batch_stride, row_stride)
            best, second, index = _best_two(
                rows_ptr, r < count, feature_stride, high_table, low_table, bias_ptr, codes, features, step, split,
                splits, PARTS, DESCRIPTOR, BLOCK_ROWS, BLOCK_CODES, BLOCK_FEATURES, RESIDENT,
            )  # fmt: skip
            out = split.to(tl.int64) * capacity + r
            tl.store(scores_ptr + out, best, mask=r < count)
            tl.store(scores_ptr + places + out, second, mask=r < count)
            tl.store(index_ptr + out, index, mask=r < count)


@triton.jit
def _best_two(
    rows_ptr, inside, feature_stride, high_table, low_table, bias_ptr, codes, features, step, split, splits,
    PARTS: tl.constexpr, DESCRIPTOR: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr, RESIDENT: tl.constexpr,
):  # fmt: skip
    """Best and second best score of rows over one split of the codes, and the code of the best."""
    d = tl.arange(0, BLOCK_FEATURES)
    columns = tl.arange(0, BLOCK_CODES)
    best = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    second = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    index = tl.zeros((BLOCK_ROWS,), tl.int32)
    if RESIDENT:
        high, low = _parts(
            rows_ptr[:, None] + d.to(tl.int64)[None, :] * feature_stride, inside[:, None] & (d < features)[None, :]
        )
    per_split = tl.cdiv(tl.cdiv(codes, BLOCK_CODES), splits) * BLOCK_CODES
    start = split * per_split
    for first in tl.range(start, tl.minimum(start + per_split, codes), BLOCK_CODES):
        scores = tl.zeros((BLOCK_ROWS, BLOCK_CODES), tl.float32)
        for c in tl.range(0, 1 if RESIDENT else features, BLOCK_FEATURES):
            if not RESIDENT:
                e = c + d
                high, low = _parts(
                    rows_ptr[:, None] + e.to(tl.int64)[None, :] * feature_stride,
                    inside[:, None] & (e < features)[None, :],
                )
            w = code_tile(high_table, first, c, codes, features, step, BLOCK_CODES, BLOCK_FEATURES, DESCRIPTOR)
            if PARTS == 2:
                scores = tl.dot(low, w.T, scores)
                w_low = code_tile(low_table, first, c, codes, features, step, BLOCK_CODES, BLOCK_FEATURES, DESCRIPTOR)
                scores = tl.dot(high, w_low.T, scores)
            scores = tl.dot(high, w.T, scores)
        scores += tl.load(bias_ptr + first + columns)[None, :]
        if PARTS == 1:
            # The column replaces the lowest bits of the score, so the maximum carries it. This turns an infinity into
            # NaN, but the bound of its row is infinite, so the row stays undecided.
            packed = (scores.to(tl.int32, bitcast=True) & -BLOCK_CODES) | columns[None, :]
            tile_first, tile_second = _two_largest(packed.to(tl.float32, bitcast=True), BLOCK_ROWS, BLOCK_CODES)
            column = tile_first.to(tl.int32, bitcast=True) & (BLOCK_CODES - 1)
        else:
            tile_first, column = tile_best(scores, columns)
            tile_second = tl.max(tl.where(columns[None, :] == column[:, None], float("-inf"), scores), 1)
        second = tl.maximum(tl.maximum(second, tile_second), tl.minimum(best, tile_first))
        index = tl.where(tile_first > best, first + column, index)
        best = tl.maximum(best, tile_first)
    return best, second, index


@triton.jit
def _two_largest(values, BLOCK_ROWS: tl.constexpr, BLOCK_CODES: tl.constexpr):
    """The two largest values of every row. Neighbours are sorted first: one thread holds both of them."""
    left, right = tl.split(tl.reshape(values, (BLOCK_ROWS, BLOCK_CODES // 2, 2)))
    return tl.reduce((tl.maximum(left, right), tl.minimum(left, right)), 1, _two_of_four)


@triton.jit
def _two_of_four(first, second, other_first, other_second):
    """The two largest values of two pairs. The larger value of a pair comes first. NaN loses."""
    return (
        tl.maximum(first, other_first),
        tl.maximum(tl.maximum(second, other_second), tl.minimum(first, other_first)),
    )


@triton.jit
def _parts(pointers, inside):
    """Splits float32 values into two float16 parts. The compiler removes the second part where it is not used."""
    x = tl.load(pointers, mask=inside, other=0.0)
    high = x.to(tl.float16)
    return high, (x - high.to(tl.float32)).to(tl.float16)
