"""Finds the rows that a fast pass of the certified search has decided: their gap is more than two error bounds.

A score of pass 1 differs from the real one by at most (Cauchy-Schwarz, with h the float16 part of x)
    |x - h| max|c| + |h| max|c - c_high| + (D + 16) 2^-22 (|x| max|c| + max|b|)
The last term covers float32 sums in any order, truncated. In pass 2, which sums three products, the last term has 1.5
D, the residues are those of two parts instead of one, and the omitted product of both low parts is added. In pass 1 the
low bits of a score hold the column of its code, so that the maximum carries the index; that changes the score by
2^-(23 - bits) of its size, which is part of the bound.

Undecided rows, whose best two scores are too close or whose bound is not finite, go into a list for the next pass. The
host never reads the length of the list.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.codes import FORBIDS, norm_above
from gsskernels.triton.launch import launch
from gsskernels.triton.rows import RowList, Rows, power_of_two, row_offsets

LARGEST = tl.constexpr(1e37)  # scores up to this size are far above the score of a forbidden code
ONE, TWO = 1, 2  # float16 parts of x and of a code


def decide(
    rows: Rows,
    errors: Tensor,
    scores: Tensor,
    index: Tensor,
    out: Tensor,
    parts: int,
    block_codes: int,
    listed: RowList | None,
) -> RowList:
    """Writes the index of every decided row to `out`, and returns the undecided rows.

    scores (2, splits, N) and index (splits, N) belong to all rows, or to the listed rows in their order. errors: see
    `codes.SplitCodes`. block_codes: the columns of a tile of pass 1.
    """
    undecided = RowList(rows.count, rows.x.device)
    block_features = min(128, power_of_two(rows.features))
    block = 2048 // block_features
    launch(
        _decide_kernel,
        (triton.cdiv(rows.count, block),),
        rows.x,
        *((None, None) if listed is None else (listed.rows, listed.count)),
        errors,
        scores,
        index,
        out,
        undecided.rows,
        undecided.count,
        *rows.places,
        rows.features,
        index.shape[0],
        rows.count,
        PARTS=parts,
        COLUMN_BITS=block_codes.bit_length() - 1 if parts == ONE else 0,
        BLOCK_ROWS=block,
        BLOCK_FEATURES=block_features,
    )
    return undecided


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
    """Merges the splits, writes the index of every decided row, and lists the undecided rows."""
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
    """Upper bounds of the norms of x, of the residue that its float16 parts leave, and of the low part."""
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
