"""linear_sample: a draw from softmax(logits / temperature) by Gumbel-max, with noise that is computed in registers.

    score[n, v] = (sum_d x[n, d] w[v, d] + b[v]) / temperature + gumbel(seed, n, v)
    gumbel      = -log(E),  E = -log(1 - u),  u = (r + 1/2) / 2^32,  r = Philox 4x32-10 of the key `seed`

The counter of Philox is (v / 4, row), and its four words are the noise of four neighbouring codes: the noise depends on
seed, row and code alone, whatever the tiles. u is small where the noise is large, and float32 keeps its relative
precision there; with u near 1 the tail of the noise would be cut off.

Contract: as `gsskernels.linear_sample` documents. Logits are float32: three tf32 products for float32 operands (about
the precision of float32), one product for half precision operands. The reference draws for float64 operands.

Right on an H200, not timed there yet. Ten Philox rounds and two logarithms per score take about the time of a product
of 512 features; with fewer features the noise dominates.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.reference import codebook as reference
from gsskernels.triton.codes import has_descriptors, operand, padded_bias
from gsskernels.triton.launch import architecture, launch
from gsskernels.triton.plan import plan_sample
from gsskernels.triton.rows import aligned_features, rows_of, tile_of_rows, tiles
from gsskernels.triton.tiles import NOTHING, better, score_tile, tile_best, write_merged


def linear_sample(x: Tensor, weight: Tensor, bias: Tensor | None, temperature: float, seed: int, dim: int) -> Tensor:
    if x.dtype is torch.float64 or x.shape[dim] == 0:
        return reference.linear_sample(x, weight, bias, temperature, seed, dim)
    x, weight, dim = aligned_features(x, weight, dim)
    rows = rows_of(x, dim)
    codes, features = weight.shape
    out = torch.empty(rows.shape, dtype=torch.int64, device=x.device)
    if rows.count == 0:
        return out
    arch = architecture(x.device)
    config, splits = plan_sample(rows.count, codes, features, x.dtype, arch)
    best = torch.empty((splits, rows.count), dtype=torch.float32, device=x.device)
    index = torch.empty((splits, rows.count), dtype=torch.int32, device=x.device)
    table, step = operand(weight, config.block_codes, config.block_features, arch)
    launch(
        _sample_kernel,
        (tiles(rows, config.block_rows) * splits,),
        rows.x,
        table,
        padded_bias(weight, bias, False),
        best,
        index,
        *rows.places,
        codes,
        features,
        step,
        splits,
        rows.count,
        1.0 / temperature,
        seed,
        DESCRIPTOR=has_descriptors(arch),
        BLOCK_ROWS=config.block_rows,
        BLOCK_CODES=config.block_codes,
        BLOCK_FEATURES=config.block_features,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
    )
    write_merged(best, index, out, codes)
    return out


@triton.jit(do_not_specialize=["seed"])  # a kernel of its own would be compiled for the seed 1
def _sample_kernel(
    x_ptr,
    table,
    bias_ptr,
    best_ptr,
    index_ptr,
    per_batch,
    batch_stride,
    row_stride,
    feature_stride,
    codes,
    features,
    step,
    splits,
    capacity,
    inverse_temperature,
    seed,
    DESCRIPTOR: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
):
    tile = tl.program_id(0) // splits
    split = tl.program_id(0) - tile * splits
    batch, first_row = tile_of_rows(tile, per_batch, BLOCK_ROWS)
    r = first_row + tl.arange(0, BLOCK_ROWS)
    n = batch * per_batch + r
    x_rows = x_ptr + batch * batch_stride + r.to(tl.int64)[:, None] * row_stride
    inside = (r < per_batch)[:, None]
    columns = tl.arange(0, BLOCK_CODES)
    best = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    index = tl.full((BLOCK_ROWS,), NOTHING, tl.int32)
    per_split = tl.cdiv(tl.cdiv(codes, BLOCK_CODES), splits) * BLOCK_CODES
    start = split * per_split
    for first in tl.range(start, tl.minimum(start + per_split, codes), BLOCK_CODES):
        scores = score_tile(
            x_rows, inside, feature_stride, table, bias_ptr, first, codes, features, step,
            BLOCK_ROWS, BLOCK_CODES, BLOCK_FEATURES, DESCRIPTOR,
        )  # fmt: skip
        noise = _gumbel(seed, n, first, BLOCK_ROWS, BLOCK_CODES)
        tile_max, column = tile_best(scores * inverse_temperature + noise, columns)
        wins = better(tile_max, best, index)
        best = tl.where(wins, tile_max, best)
        index = tl.where(wins, first + column, index)
    out = split.to(tl.int64) * capacity + n
    tl.store(best_ptr + out, best, mask=r < per_batch)
    tl.store(index_ptr + out, index, mask=r < per_batch)


@triton.jit
def _gumbel(seed, n, first, BLOCK_ROWS: tl.constexpr, BLOCK_CODES: tl.constexpr):
    """Standard Gumbel noise for rows n and codes first.., which start at a multiple of four."""
    group = first // 4 + tl.arange(0, BLOCK_CODES // 4)
    shape: tl.constexpr = (BLOCK_ROWS, BLOCK_CODES // 4)
    zero = tl.zeros(shape, tl.int32)
    row_low = tl.broadcast_to((n & 0xFFFFFFFF).to(tl.int32)[:, None], shape)
    row_high = tl.broadcast_to((n >> 32).to(tl.int32)[:, None], shape)
    a, b, c, d = tl.philox(seed, zero + group[None, :], row_low, row_high, zero)
    bits = tl.join(tl.join(a, b), tl.join(c, d))  # codes 4i, 4i + 1, .. lie along the last two dimensions
    bits = tl.reshape(bits, (BLOCK_ROWS, BLOCK_CODES))
    u = tl.minimum((bits.to(tl.float32) + 0.5) * 2.0**-32, 1.0 - 2.0**-24)  # 1 would make the noise -inf
    # log(1 - u) cancels for small u, which use its series.
    exponential = tl.where(u < 2.0**-6, u * (1.0 + u * (0.5 + u * (1 / 3 + u * 0.25))), -tl.log(1.0 - u))
    return -tl.log(exponential)
