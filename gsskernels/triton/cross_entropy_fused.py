"""Cross-entropy without stored logits: an online log-sum-exp over tiles of scores in registers.

    m' = max(m, max of the tile),  s' = s exp(m - m') + sum of exp(score - m')       over tiles; lse = m + log s
    the score of the target is taken from the tile that holds it; splits of V are merged by the same formula

Contract: as in cross_entropy.py. Products of half precision operands are summed in float32; products of float32
operands are three tf32 products, which is about float32 precision. Memory: 16 bytes per row and split.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.reference.cross_entropy import CrossEntropyOptions
from gsskernels.triton.codes import has_descriptors, operand, padded_bias
from gsskernels.triton.cross_entropy_rows import LOG2_E
from gsskernels.triton.launch import architecture, launch
from gsskernels.triton.plan import plan_cross_entropy
from gsskernels.triton.rows import Rows, tile_of_rows, tiles
from gsskernels.triton.tiles import score_tile


def fused_losses(
    rows: Rows,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    options: CrossEntropyOptions,
    losses: Tensor,
    lse: Tensor,
) -> None:
    """Fills losses (N,), with 0 for ignored rows, and lse (N,)."""
    codes, features = weight.shape
    if rows.count == 0:
        return
    arch = architecture(weight.device)
    config, splits = plan_cross_entropy(rows.count, codes, features, weight.dtype, arch)
    table, step = operand(weight, config.block_codes, config.block_features, arch)
    # For every row and split: maximum, sum of exponentials, sum of logits, logit of the target.
    partial = torch.empty((4, splits, rows.count), dtype=torch.float32, device=weight.device)
    launch(
        _losses_kernel,
        (tiles(rows, config.block_rows) * splits,),
        rows.x,
        table,
        padded_bias(weight, bias, False),
        ids,
        partial,
        *rows.places,
        codes,
        features,
        step,
        ids.stride(0),
        splits,
        rows.count,
        DESCRIPTOR=has_descriptors(arch),
        BLOCK_ROWS=config.block_rows,
        BLOCK_CODES=config.block_codes,
        BLOCK_FEATURES=config.block_features,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
    )
    block = 128
    launch(
        _finish_kernel,
        (triton.cdiv(rows.count, block),),
        partial,
        ids,
        losses,
        lse,
        codes,
        ids.stride(0),
        splits,
        rows.count,
        options.ignore_index,
        options.label_smoothing,
        BLOCK=block,
    )


@triton.jit
def _losses_kernel(
    x_ptr,
    table,
    bias_ptr,
    ids_ptr,
    partial_ptr,
    per_batch,
    batch_stride,
    row_stride,
    feature_stride,
    codes,
    features,
    step,
    id_stride,
    splits,
    capacity,
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
    ok = r < per_batch
    x_rows = x_ptr + batch * batch_stride + r.to(tl.int64)[:, None] * row_stride
    target = tl.load(ids_ptr + n * id_stride, mask=ok, other=0)
    columns = tl.arange(0, BLOCK_CODES)
    maximum = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_ROWS,), tl.float32)
    below = tl.zeros((BLOCK_ROWS,), tl.float32)
    hit = tl.full((BLOCK_ROWS,), float("-inf"), tl.float32)
    per_split = tl.cdiv(tl.cdiv(codes, BLOCK_CODES), splits) * BLOCK_CODES
    start = split * per_split
    for first in tl.range(start, tl.minimum(start + per_split, codes), BLOCK_CODES):
        scores = score_tile(
            x_rows, ok[:, None], feature_stride, table, bias_ptr, first, codes, features, step,
            BLOCK_ROWS, BLOCK_CODES, BLOCK_FEATURES, DESCRIPTOR,
        )  # fmt: skip
        highest = tl.maximum(maximum, tl.max(scores, 1))
        # While every score is -inf the shift is 0; otherwise the difference would be NaN.
        shift = tl.where(highest == float("-inf"), 0.0, highest)
        total = total * tl.exp2((maximum - shift) * LOG2_E) + tl.sum(tl.exp2((scores - shift[:, None]) * LOG2_E), 1)
        below += tl.sum(tl.where((first + columns < codes)[None, :], scores, 0.0), 1)
        here = (target - first)[:, None] == columns[None, :]
        found = tl.sum(tl.where(here, scores, 0.0), 1)
        hit = tl.where((target >= first) & (target < first + BLOCK_CODES), found, hit)
        maximum = highest
    places = splits * tl.cast(capacity, tl.int64)
    at = partial_ptr + split.to(tl.int64) * capacity + n
    tl.store(at, maximum, mask=ok)
    tl.store(at + places, total, mask=ok)
    tl.store(at + 2 * places, below, mask=ok)
    tl.store(at + 3 * places, hit, mask=ok)


@triton.jit(do_not_specialize=["ignore_index"])
def _finish_kernel(
    partial_ptr,
    ids_ptr,
    losses_ptr,
    lse_ptr,
    codes,
    id_stride,
    splits,
    capacity,
    ignore_index,
    smoothing,
    BLOCK: tl.constexpr,
):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = n < capacity
    places = splits * tl.cast(capacity, tl.int64)
    maximum = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    below = tl.zeros((BLOCK,), tl.float32)
    hit = tl.full((BLOCK,), float("-inf"), tl.float32)
    target = tl.load(ids_ptr + n * id_stride, mask=ok, other=0)
    for split in tl.range(0, splits):
        at = partial_ptr + split * tl.cast(capacity, tl.int64) + n
        its_maximum = tl.load(at, mask=ok, other=0.0)
        highest = tl.maximum(maximum, its_maximum)
        shift = tl.where(highest == float("-inf"), 0.0, highest)
        its_total = tl.load(at + places, mask=ok, other=0.0)
        total = total * tl.exp(maximum - shift) + its_total * tl.exp(its_maximum - shift)
        below += tl.load(at + 2 * places, mask=ok, other=0.0)
        # Splits without the target hold -inf. NaN must survive if it is the score of the target.
        its_hit = tl.load(at + 3 * places, mask=ok, other=0.0)
        hit = tl.where(its_hit == float("-inf"), hit, its_hit)
        maximum = highest
    lse = tl.where(maximum == float("-inf"), 0.0, maximum) + tl.log(total)
    loss = lse - hit
    if smoothing > 0:
        loss = (1.0 - smoothing) * loss + smoothing * (lse - below / codes)
    kept = target != ignore_index
    tl.store(losses_ptr + n, tl.where(kept, loss, 0.0), mask=ok)
    tl.store(lse_ptr + n, lse, mask=ok)
