"""Softmax of rows of stored logits: losses, log-sum-exps, and the gradient of the logits, which replaces them.

    lse    = m + log sum_v exp(l_v - m),  m = max_v l_v,  l_v = logit_v + bias_v
    loss   = lse - (1 - s) l_t - s mean_v l_v                        s: label smoothing
    grad_v = scale (exp(l_v - lse) - s / V - (1 - s) [v = t])

One block per row. Up to MOST_RESIDENT codes the row is read once and stays in registers; longer rows are read twice
more from cache. Memory-bound: a logit in half precision takes 2 bytes in and 2 bytes out, 9216 x 8192 logits 0.07 ms at
4.3 TB/s [derived].
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gsskernels.reference.cross_entropy import CrossEntropyOptions
from gsskernels.triton.launch import launch
from gsskernels.triton.rows import power_of_two

MOST_RESIDENT = 16384
LOG2_E = tl.constexpr(1.4426950408889634)  # exp2 is one instruction, exp six
BLOCK = 4096  # codes read at a time in longer rows


def softmax_rows(
    logits: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    first: int,
    options: CrossEntropyOptions,
    scale: Tensor,
    losses: Tensor | None,
    lse: Tensor | None,
) -> None:
    """The first row of `logits` is row `first` of `ids`, `losses` and `lse`.

    `scale` is one number, or one number per row of `ids`. If a gradient is wanted, the gradient of the logits replaces
    the logits.
    """
    rows, codes = logits.shape
    block = min(power_of_two(codes), MOST_RESIDENT)
    resident = codes <= block
    if not resident:
        block = BLOCK
    launch(
        _softmax_kernel,
        (rows,),
        logits,
        bias,
        ids,
        scale,
        losses,
        lse,
        first,
        codes,
        logits.stride(0),
        ids.stride(0),
        0 if bias is None else bias.stride(0),
        0 if scale.numel() == 1 else scale.stride(0),
        options.ignore_index,
        options.label_smoothing,
        WRITE=any(options.gradients),
        RESIDENT=resident,
        BLOCK=block,
        num_warps=max(1, min(16, block // 512)),
    )


@triton.jit(do_not_specialize=["first", "ignore_index"])
def _softmax_kernel(
    logits_ptr,
    bias_ptr,
    ids_ptr,
    scale_ptr,
    losses_ptr,
    lse_ptr,
    first,
    codes,
    row_stride,
    id_stride,
    bias_stride,
    scale_stride,
    ignore_index,
    smoothing,
    WRITE: tl.constexpr,
    RESIDENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = first + tl.program_id(0).to(tl.int64)
    row_ptr = logits_ptr + tl.program_id(0).to(tl.int64) * row_stride
    v = tl.arange(0, BLOCK)
    target = tl.load(ids_ptr + n * id_stride)
    kept = target != ignore_index
    if RESIDENT:
        logits = _logits(row_ptr, bias_ptr, v, codes, bias_stride)
        maximum = _finite(tl.max(logits, 0))
        total = tl.sum(tl.exp2((logits - maximum) * LOG2_E), 0)
        below = tl.sum(tl.where(v < codes, logits, 0.0), 0)
    else:
        running = tl.full((BLOCK,), float("-inf"), tl.float32)
        for start in tl.range(0, codes, BLOCK):
            running = tl.maximum(running, _logits(row_ptr, bias_ptr, start + v, codes, bias_stride))
        maximum = _finite(tl.max(running, 0))
        total = tl.zeros((), tl.float32)
        below = tl.zeros((), tl.float32)
        for start in tl.range(0, codes, BLOCK):
            logits = _logits(row_ptr, bias_ptr, start + v, codes, bias_stride)
            total += tl.sum(tl.exp2((logits - maximum) * LOG2_E), 0)
            below += tl.sum(tl.where(start + v < codes, logits, 0.0), 0)
    lse = maximum + tl.log(total)

    if losses_ptr is not None:
        at = tl.where(kept, target, 0).to(tl.int64)
        hit = tl.load(row_ptr + at).to(tl.float32)
        if bias_ptr is not None:
            hit += tl.load(bias_ptr + at * bias_stride).to(tl.float32)
        loss = lse - hit
        if smoothing > 0:
            loss = (1.0 - smoothing) * loss + smoothing * (lse - below / codes)
        tl.store(losses_ptr + n, tl.where(kept, loss, 0.0))
        tl.store(lse_ptr + n, lse)

    if WRITE:
        tl.debug_barrier()  # the logit of the target is read before any thread overwrites it
        scale = tl.load(scale_ptr + n * scale_stride)
        uniform = smoothing / codes
        if RESIDENT:
            grad = _gradient(logits, v, lse, target, kept, scale, smoothing, uniform)
            tl.store(row_ptr + v, grad, mask=v < codes)
        else:
            for start in tl.range(0, codes, BLOCK):
                logits = _logits(row_ptr, bias_ptr, start + v, codes, bias_stride)
                grad = _gradient(logits, start + v, lse, target, kept, scale, smoothing, uniform)
                tl.store(row_ptr + start + v, grad, mask=start + v < codes)


@triton.jit
def _logits(row_ptr, bias_ptr, v, codes, bias_stride):
    logits = tl.load(row_ptr + v, mask=v < codes, other=float("-inf")).to(tl.float32)
    if bias_ptr is not None:
        logits += tl.load(bias_ptr + v * bias_stride, mask=v < codes, other=0.0).to(tl.float32)
    return logits


@triton.jit
def _finite(maximum):
    """The shift of the exponents: the maximum, or 0 if every logit is -inf, where the difference would be NaN."""
    return tl.where(maximum == float("-inf"), 0.0, maximum)


@triton.jit
def _gradient(logits, v, lse, target, kept, scale, smoothing, uniform):
    grad = tl.exp2((logits - lse) * LOG2_E) - uniform - tl.where(v == target, 1.0 - smoothing, 0.0)
    return tl.where(kept, grad * scale, 0.0)
