"""The certified argmax of float32 operands: fast passes that know their error, and float64 for what they cannot decide.

    1. float16 products of x and the codes: best and second best score of every row
    2. rows whose gap is not above twice the error bound: again with x and codes in two float16 parts, three products
    3. rows still undecided: scores in float64

A score of pass 1 differs from the real one by at most (Cauchy-Schwarz, with h the float16 part of x)
    |x - h| max|c| + |h| max|c - c_high| + (D + 16) 2^-22 (|x| max|c| + max|b|)
the last term being float32 sums in any order, truncated; pass 2, which sums three products, has 1.5 D there, the
rests of two parts in place of those of one, and the product of both low parts, which it leaves out. In pass 1 the
column of a code stands in the low bits of its score, so the maximum brings its index along; that costs 2^-(23 - bits)
of the score and is in the bound.

Contract: the answer is the reference's, scored in float64; ties and near-ties reach pass 3, where equal sums have equal
bits and the lowest index wins; NaN, infinities and overflows of float16 make a bound that certifies nothing.

Not measured yet: no GPU was available. By the same arithmetic on a CPU, 1024 rows, V = 8192, D = 256: of independent
Gaussian rows 7.9 % go to pass 2 and 1.1 % to pass 3; of rows 0.7 standard deviations from a code, none. It loses
where most rows tie, for instance between equal codes: then all of it is float64.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.codes import FORBIDS, SplitCodes, has_descriptors, norm_above, operand, split_codes
from gsskernels.triton.exact import exact_argmax
from gsskernels.triton.launch import architecture, launch
from gsskernels.triton.plan import SMALL_WORK, Config, plan_certified, resident_programs
from gsskernels.triton.rows import Rows, aligned_features, power_of_two, row_offsets, rows_of, tile_of_rows, tiles
from gsskernels.triton.tiles import code_tile, tile_best

MOST_FEATURES = 2**16  # beyond it the bound of a float32 sum says too little

LARGEST = tl.constexpr(1e37)  # scores up to here are far above that of a forbidden code
ONE, TWO = 1, 2  # float16 parts of x and of a code


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


class RowList:
    """Numbers of rows, and on the device how many there are: the host never waits for it."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.rows = torch.empty(capacity, dtype=torch.int64, device=device)
        self.count = torch.zeros(1, dtype=torch.int32, device=device)


def _fast_pass(rows: Rows, split: SplitCodes, out: Tensor, parts: int, listed: RowList | None) -> RowList:
    """Decides what it can into `out`, for all rows or those listed, and returns the others."""
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
    undecided = RowList(rows.count, device)
    block_features = min(128, power_of_two(rows.features))
    block = 2048 // block_features
    launch(
        _decide_kernel,
        (triton.cdiv(rows.count, block),),
        rows.x,
        *((None, None) if listed is None else (listed.rows, listed.count)),
        split.errors,
        scores,
        index,
        out,
        undecided.rows,
        undecided.count,
        *rows.places,
        rows.features,
        splits,
        rows.count,
        PARTS=parts,
        COLUMN_BITS=config.block_codes.bit_length() - 1 if parts == ONE else 0,
        BLOCK_ROWS=block,
        BLOCK_FEATURES=block_features,
    )
    return undecided


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
    list_ptr,  # numbers of the rows to do, or None for all
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
            # The column replaces the lowest bits, so that the maximum brings it along. An infinity becomes NaN by it,
            # but its bound is infinite, so nothing is decided by that.
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
    """The two largest values of every row. Neighbours are sorted first, which a thread that holds both does alone."""
    left, right = tl.split(tl.reshape(values, (BLOCK_ROWS, BLOCK_CODES // 2, 2)))
    return tl.reduce((tl.maximum(left, right), tl.minimum(left, right)), 1, _two_of_four)


@triton.jit
def _two_of_four(first, second, other_first, other_second):
    """The two largest of two pairs, each the larger one first. NaN loses."""
    return (
        tl.maximum(first, other_first),
        tl.maximum(tl.maximum(second, other_second), tl.minimum(first, other_first)),
    )


@triton.jit
def _parts(pointers, inside):
    """float32 values as two float16 ones. Only the second part's users pay for it."""
    x = tl.load(pointers, mask=inside, other=0.0)
    high = x.to(tl.float16)
    return high, (x - high.to(tl.float32)).to(tl.float16)


@triton.jit
def _decide_kernel(
    x_ptr,
    list_ptr,
    count_ptr,
    errors_ptr,
    scores_ptr,
    index_ptr,
    out_ptr,
    undecided_ptr,
    undecided_count_ptr,
    per_batch,
    batch_stride,
    row_stride,
    feature_stride,
    features,
    splits,
    capacity,
    PARTS: tl.constexpr,
    COLUMN_BITS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
):
    """Merges the splits, writes the index of every row whose gap is certain, and lists the other rows."""
    count = capacity if list_ptr is None else tl.load(count_ptr)
    if tl.program_id(0) * BLOCK_ROWS >= count:
        return
    r = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    ok = r < count
    n = r.to(tl.int64) if list_ptr is None else tl.load(list_ptr + r, mask=ok, other=0)

    places = splits * tl.cast(capacity, tl.int64)
    best = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    second = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    index = tl.zeros((BLOCK_ROWS,), tl.int32)
    for split in tl.range(0, splits):
        at = split * tl.cast(capacity, tl.int64) + r
        its_best = tl.load(scores_ptr + at, mask=ok, other=0.0)
        its_second = tl.load(scores_ptr + places + at, mask=ok, other=0.0)
        second = tl.maximum(tl.maximum(second, its_second), tl.minimum(best, its_best))
        index = tl.where(its_best > best, tl.load(index_ptr + at, mask=ok, other=0), index)
        best = tl.maximum(best, its_best)

    whole, rest, kept_low = _row_norms(
        x_ptr + row_offsets(tl.where(ok, n, 0), per_batch, batch_stride, row_stride), feature_stride, features,
        PARTS, BLOCK_ROWS, BLOCK_FEATURES,
    )  # fmt: skip
    code, code_once, code_twice = tl.load(errors_ptr), tl.load(errors_ptr + 1), tl.load(errors_ptr + 2)
    size = whole * code + tl.load(errors_ptr + 3)
    terms = tl.cast(features, tl.float32) * (1.0 if PARTS == 1 else 1.5) + 16.0
    if PARTS == 1:
        bound = rest * code + (whole + rest) * code_once
    else:
        bound = rest * code + (whole + rest) * code_twice + kept_low * (code_once + code_twice)
    rounding = terms * 2.0**-22 + 2.0 ** (COLUMN_BITS - 23)
    # 2^-10: the bound is itself computed in float32.
    certain = best - second > 2.0 * (bound + rounding * size) * (1.0 + 2.0**-10)
    certain &= (size < LARGEST) & (best > FORBIDS)
    tl.store(out_ptr + n, index.to(tl.int64), mask=ok & certain)

    left = (ok & ~certain).to(tl.int32)
    total = tl.sum(left, 0)
    if total > 0:
        start = tl.atomic_add(undecided_count_ptr, total)
        tl.store(undecided_ptr + start + tl.cumsum(left, 0) - 1, n, mask=left > 0)


@triton.jit
def _row_norms(
    rows_ptr,
    feature_stride,
    features,
    PARTS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
):
    """Upper bounds of |x|, of what the float16 parts leave of it, and of the low part."""
    whole = tl.zeros((BLOCK_ROWS,), tl.float32)
    rest = tl.zeros((BLOCK_ROWS,), tl.float32)
    kept_low = tl.zeros((BLOCK_ROWS,), tl.float32)
    for first in tl.range(0, features, BLOCK_FEATURES):
        d = first + tl.arange(0, BLOCK_FEATURES)
        x = tl.load(
            rows_ptr[:, None] + d.to(tl.int64)[None, :] * feature_stride, mask=(d < features)[None, :], other=0.0
        )
        left = x - x.to(tl.float16).to(tl.float32)
        whole += tl.sum(x * x, 1)
        if PARTS == 2:
            low = left.to(tl.float16).to(tl.float32)
            kept_low += tl.sum(low * low, 1)
            left -= low
        rest += tl.sum(left * left, 1)
    return norm_above(whole, features), norm_above(rest, features), norm_above(kept_low, features)
