"""Cross-entropy of a linear layer with bounded memory: gradients from chunks of logits, or losses without logits.

    loss[n] = lse_n - logit[n, t_n],  lse_n = log sum_v exp logit[n, v],  logit = x W^T + b
    with gradients: for a chunk of rows   logits = x W^T        (cuBLAS, into a buffer)
                                          G = softmax - target  (rows of the buffer, read once, written in place)
                                          dx = G W,  dW += G^T x,  db += sum of G
    without gradients: an online log-sum-exp over tiles of scores (cross_entropy_fused.py), or the same chunks,
                                          depending on the plan

This takes three matrix products; a separate backward pass, which computes the logits again, takes four. For V and C of
thousands the products dominate, and cuBLAS is best at them; fused tiles are faster where C is a few hundred.

Contract: half precision operands give half precision logits, as in PyTorch, summed in float32 inside the product; the
softmax, losses, dW and db are float32, and dW is summed over chunks in float32. Ignored rows have the loss 0 and the
gradient 0, whatever their logits. Sums have a fixed order: the same input gives the same bits.

73728 x 2048 -> 8192 in bfloat16, forward and backward, on an H200: 13.7 ms, of it 10.5 in the products, 1.1 in softmax,
0.6 in db and 0.6 in scaling dx by the upstream gradient; PyTorch's formula 14.0, torch.compile 12.3 with 1.5 times the
memory. The buffer is at most 64 MiB, so 4096 rows of bfloat16 logits.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gsskernels.reference import cross_entropy as reference
from gsskernels.reference.cross_entropy import CrossEntropyOptions, Gradients
from gsskernels.triton.cross_entropy_fused import fused_losses
from gsskernels.triton.cross_entropy_rows import softmax_rows
from gsskernels.triton.launch import architecture
from gsskernels.triton.plan import chunk_rows, fuses_cross_entropy
from gsskernels.triton.rows import Rows, rows_of

# Older versions refuse a float32 sum of half precision products.
ADDS_IN_FLOAT32 = torch.__version__ >= "2.11"  # a TorchVersion compares as versions do


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    options: CrossEntropyOptions,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    if x.dtype is torch.float64:
        return reference.linear_cross_entropy(x, weight, target, bias, options)
    rows = rows_of(x, options.dim)
    ids = target.reshape(-1).long()  # a scalar compared with a narrow dtype would wrap to it
    _assert_in_bounds(ids, weight.shape[0], options.ignore_index)
    losses = torch.empty(rows.count, dtype=torch.float32, device=x.device)
    lse = torch.empty_like(losses)
    kept = (ids != options.ignore_index).sum()
    found: Gradients = None, None, None
    if not any(options.gradients) and rows.features > 0 and fuses_cross_entropy(rows.features, architecture(x.device)):
        fused_losses(rows, weight, bias, ids, options, losses, lse)
    else:
        # If every row is ignored, the gradients are 0 although the mean is NaN.
        scale = kept.clamp(min=1).reciprocal() if options.reduction == "mean" else torch.ones((), device=x.device)
        found = _in_chunks(x, rows, weight, bias, ids, options, scale.float(), losses, lse)
    if options.reduction == "none":
        return losses.view(rows.shape), lse, *found
    return (losses.sum() if options.reduction == "sum" else losses.sum() / kept), lse, *found


def linear_cross_entropy_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    options: CrossEntropyOptions,
) -> Gradients:
    if x.dtype is torch.float64:
        return reference.linear_cross_entropy_backward(grad, x, weight, target, bias, lse, options)
    ids = target.reshape(-1).long()
    scale = grad.float().reshape(-1)
    if options.reduction == "mean":
        scale = scale / (ids != options.ignore_index).sum().clamp(min=1)
    return _in_chunks(x, rows_of(x, options.dim), weight, bias, ids, options, scale)


def _in_chunks(
    x: Tensor,
    rows: Rows,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    options: CrossEntropyOptions,
    scale: Tensor,
    losses: Tensor | None = None,
    lse: Tensor | None = None,
) -> Gradients:
    """Fills `losses` and `lse` unless they are None, and returns the gradients of sum_n scale_n loss_n.

    `scale` holds one number, or one number per row.
    """
    codes, features = weight.shape
    # G lies within [-1, 1]. Divided by many rows it would underflow in float16, so there the finished sums are scaled.
    late = scale.view(()) if x.dtype is torch.float16 and scale.numel() == 1 else None
    row_scale = torch.ones_like(scale) if late is not None else scale
    x_gradient, in_place = _rows_for_gradient(x, rows, options.dim) if options.gradients[0] else (None, True)
    weight_gradient = (
        torch.zeros((codes, features), dtype=torch.float32, device=x.device) if options.gradients[1] else None
    )
    bias_gradient = torch.zeros(codes, dtype=torch.float32, device=x.device) if options.gradients[2] else None
    longest = chunk_rows(rows.per_batch, codes, x.element_size())
    buffer = torch.empty((longest, codes), dtype=x.dtype, device=x.device)
    for first, size in _chunks(rows, longest):
        part = _view(rows, first, size)
        logits = torch.mm(part, weight.t(), out=buffer[:size])
        softmax_rows(logits, bias, ids, first, options, row_scale, losses, lse)
        if x_gradient is not None:
            _product(logits, weight, _view(x_gradient, first, size))
        if weight_gradient is not None:
            _add_product(weight_gradient, logits.t(), part)
        if bias_gradient is not None:
            bias_gradient += logits.sum(0, dtype=torch.float32)
    found = None if x_gradient is None else x_gradient.x, weight_gradient, bias_gradient
    if late is not None:
        for gradient in found:
            if gradient is not None:
                gradient.mul_(late)
    if found[0] is None or in_place:
        return found
    return found[0].view(*rows.shape, features).movedim(-1, options.dim).contiguous(), weight_gradient, bias_gradient


def _rows_for_gradient(x: Tensor, rows: Rows, dim: int) -> tuple[Rows, bool]:
    """Rows of a new contiguous tensor like x, and True; or rows of a matrix, and False, if its batches differ."""
    dtype = torch.float32 if x.dtype is torch.float16 else x.dtype
    like_x = torch.empty(x.shape, dtype=dtype, device=x.device)
    place = rows_of(like_x, dim)
    if place.x is like_x and (place.batches, place.per_batch) == (rows.batches, rows.per_batch):
        return place, True
    return rows_of(torch.empty((rows.count, rows.features), dtype=dtype, device=x.device), 1), False


def _chunks(rows: Rows, longest: int) -> Iterator[tuple[int, int]]:
    """Yields the first row and the number of rows of every chunk. A chunk lies within one batch."""
    for batch in range(rows.batches):
        for start in range(0, rows.per_batch, longest):
            yield batch * rows.per_batch + start, min(longest, rows.per_batch - start)


def _view(rows: Rows, first: int, size: int) -> Tensor:
    """(size, features): rows first.. of one batch."""
    batch, start = divmod(first, rows.per_batch)
    offset = rows.x.storage_offset() + batch * rows.batch_stride + start * rows.row_stride
    return rows.x.as_strided((size, rows.features), (rows.row_stride, rows.feature_stride), offset)


def _product(grad: Tensor, weight: Tensor, out: Tensor) -> None:
    if out.dtype is not grad.dtype:
        out.copy_(_wide_product(grad, weight))
    elif out.stride(1) == 1:
        torch.mm(grad, weight, out=out)
    else:  # features first: the transposed product, whose result has the layout that torch.mm writes
        torch.mm(weight.t(), grad.t(), out=out.t())


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Computes total += a b in float32 for factors of any dtype."""
    if a.dtype is torch.float32:
        total.addmm_(a, b)
    elif total.device.type != "cpu" and ADDS_IN_FLOAT32:
        torch.ops.aten.addmm.dtype_out(total, a, b, torch.float32, out=total)
    else:
        for part, rows in zip(total.split(1024), a.split(1024), strict=True):  # of codes: a small product at a time
            part += _wide_product(rows, b)


def _wide_product(a: Tensor, b: Tensor) -> Tensor:
    """The product of half precision factors in float32."""
    if a.device.type != "cpu":
        return torch.ops.aten.mm.dtype(a, b, torch.float32)
    return a.float() @ b.float()


def _assert_in_bounds(ids: Tensor, codes: int, ignore_index: int) -> None:
    """Refuses targets out of bounds: an exception if kernels are interpreted, else an assertion on the device."""
    if ids.device.type == "meta":
        return
    wrong = ((ids < 0) | (ids >= codes)) & (ids != ignore_index)
    if ids.device.type == "cpu":
        if bool(wrong.any()):
            raise IndexError(f"Target {ids[wrong][0].item()} is out of bounds.")
        return
    torch._assert_async(~wrong.any(), f"a target is out of bounds: not in 0..{codes - 1} and not {ignore_index}")
