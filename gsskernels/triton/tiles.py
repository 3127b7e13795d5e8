"""Operations on a tile of scores: read codes, find the best column, merge tiles, merge splits."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.launch import launch

NOTHING = tl.constexpr(0x7FFFFFFF)  # the index of a row whose scores so far are all NaN


@triton.jit
def code_tile(
    table,
    first,
    c,
    codes,
    features,
    step,
    BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
    DESCRIPTOR: tl.constexpr,
):
    """A tile of codes from `first` on and features from `c` on, with zeros beyond the last feature.

    With a descriptor this is one instruction of one thread. Codes beyond V, whose bias is -inf, are zeros with a
    descriptor and copies of the last code without.
    """
    if DESCRIPTOR:
        tile = table.load([first, c])
    else:
        v = tl.minimum(first + tl.arange(0, BLOCK_CODES), codes - 1)
        d = c + tl.arange(0, BLOCK_FEATURES)
        pointers = table + v.to(tl.int64)[:, None] * step + d[None, :]
        tile = tl.load(pointers, mask=(d < features)[None, :], other=0.0)
    return tile


@triton.jit
def score_tile(
    x_rows, inside, feature_stride, table, bias_ptr, first, codes, features, step,
    BLOCK_ROWS: tl.constexpr, BLOCK_CODES: tl.constexpr, BLOCK_FEATURES: tl.constexpr, DESCRIPTOR: tl.constexpr,
):  # fmt: skip
    """<x_n, w_v> + b_v for a tile of rows and the codes from `first` on.

    x_rows: pointers (N, 1). inside: (N, 1), whether a row exists. Products of float32 operands are three tf32 products,
    which is about the precision of float32.
    """
    d = tl.arange(0, BLOCK_FEATURES)
    scores = tl.zeros((BLOCK_ROWS, BLOCK_CODES), tl.float32)
    for c in tl.range(0, features, BLOCK_FEATURES):
        e = c + d
        pointers = x_rows + e.to(tl.int64)[None, :] * feature_stride
        x = tl.load(pointers, mask=inside & (e[None, :] < features), other=0.0)
        w = code_tile(table, first, c, codes, features, step, BLOCK_CODES, BLOCK_FEATURES, DESCRIPTOR)
        scores = tl.dot(x, w.T, scores, input_precision="tf32x3")
    return scores + tl.load(bias_ptr + first + tl.arange(0, BLOCK_CODES))[None, :]


@triton.jit
def tile_best(scores, columns):
    """Maximum of every row and the lowest column that has it. NaN loses to any number and equals nothing."""
    best = tl.max(scores, 1)
    column = tl.min(tl.where(scores == best[:, None], columns[None, :], NOTHING), 1)
    return best, column


@triton.jit
def better(challenger, best, index):
    """Whether a later score replaces the best so far: it is strictly better, or all scores so far are NaN."""
    return (challenger > best) | ((index == NOTHING) & (challenger == challenger))


@triton.jit
def merge(best_ptr, index_ptr, n, inside, capacity, splits, BLOCK: tl.constexpr):
    """Best score and index of rows n over the splits, which hold ascending ranges of codes."""
    best = tl.load(best_ptr + n, mask=inside, other=float("-inf"))
    index = tl.load(index_ptr + n, mask=inside, other=0)
    for split in range(1, splits):
        at = split * tl.cast(capacity, tl.int64) + n
        challenger = tl.load(best_ptr + at, mask=inside, other=float("-inf"))
        its_index = tl.load(index_ptr + at, mask=inside, other=0)
        wins = better(challenger, best, index) & (its_index != NOTHING)
        best = tl.where(wins, challenger, best)
        index = tl.where(wins, its_index, index)
    return best, index


def write_merged(best: Tensor, index: Tensor, out: Tensor, codes: int) -> None:
    """Merges best and index, (splits, N) each, and writes the index; 0 for a row whose scores are all NaN."""
    splits, rows = best.shape
    block = 256
    launch(_merge_kernel, (triton.cdiv(rows, block),), best, index, out, rows, codes, splits, BLOCK=block)


@triton.jit
def _merge_kernel(best_ptr, index_ptr, out_ptr, rows, codes, splits, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    best, index = merge(best_ptr, index_ptr, n, n < rows, rows, splits, BLOCK)
    tl.store(out_ptr + n, tl.where(index < codes, index, 0).to(tl.int64), mask=n < rows)
