"""Cross-entropy of a linear layer in C++, see src/cross_entropy.cpp. The reference computes float64 operands."""

from ctypes import c_int64

import torch
from torch import Tensor

from gsskernels.native import library
from gsskernels.reference import cross_entropy as reference
from gsskernels.reference.cross_entropy import CrossEntropyOptions, Gradients

_REDUCTIONS = {"none": 0, "sum": 1, "mean": 2}


def linear_cross_entropy(
    x: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None, options: CrossEntropyOptions
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    if x.dtype is torch.float64:
        return reference.linear_cross_entropy(x, weight, target, bias, options)
    loss = torch.empty(target.shape if options.reduction == "none" else (), dtype=torch.float32)
    lse = torch.empty(target.numel(), dtype=torch.float32)
    return loss, lse, *_call(x, weight, target, bias, options, loss=loss, lse=lse)


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
    return _call(x, weight, target, bias, options, upstream=grad.to(torch.float32).contiguous())


def _call(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    options: CrossEntropyOptions,
    *,
    upstream: Tensor | None = None,
    loss: Tensor | None = None,
    lse: Tensor | None = None,
) -> Gradients:
    codes, features = weight.shape
    if (steps := _row_steps(x, options.dim)) is None:
        x = x.contiguous()
        steps = _row_steps(x, options.dim)
        assert steps is not None
    if target.dtype not in library.DTYPES:
        target = target.long()
    target = target.contiguous()
    x_gradient = torch.empty(x.shape, dtype=torch.float32) if options.gradients[0] else None
    weight_gradient = torch.empty((codes, features), dtype=torch.float32) if options.gradients[1] else None
    bias_gradient = torch.empty(codes, dtype=torch.float32) if options.gradients[2] else None
    inner = x_gradient.stride(options.dim) if x_gradient is not None else 1
    out_of_bounds = (c_int64 * 2)()
    status = library.functions.linear_cross_entropy(
        x.data_ptr(),
        library.DTYPES[x.dtype],
        target.numel(),
        features,
        codes,
        *steps,
        x.stride(options.dim),
        weight.data_ptr(),
        *weight.stride(),
        None if bias is None else bias.data_ptr(),
        0 if bias is None else library.DTYPES[bias.dtype],
        0 if bias is None else bias.stride(0),
        target.data_ptr(),
        library.DTYPES[target.dtype],
        options.ignore_index,
        options.label_smoothing,
        _REDUCTIONS[options.reduction],
        None if upstream is None else upstream.data_ptr(),
        1 if upstream is not None and options.reduction == "none" else 0,
        None if loss is None else loss.data_ptr(),
        None if lse is None else lse.data_ptr(),
        None if x_gradient is None else x_gradient.data_ptr(),
        inner,
        None if weight_gradient is None else weight_gradient.data_ptr(),
        None if bias_gradient is None else bias_gradient.data_ptr(),
        out_of_bounds,
        torch.get_num_threads(),
    )
    library.check(status)
    if out_of_bounds[0]:
        raise IndexError(f"Target {out_of_bounds[1]} is out of bounds.")
    return x_gradient, weight_gradient, bias_gradient


def _row_steps(x: Tensor, dim: int) -> tuple[int, int, int] | None:
    """The rows of x (all dimensions but dim) as two nested loops: rows of the inner loop, steps of both loops.

    None if two loops are not enough.
    """
    if x.dim() == 2:  # the usual case, quickly
        return x.shape[1 - dim], 0, x.stride(1 - dim)
    loops: list[tuple[int, int]] = []  # size, step
    for axis, (size, step) in enumerate(zip(x.shape, x.stride(), strict=True)):
        if axis == dim or size == 1:
            continue
        if loops and loops[-1][1] == size * step:
            loops[-1] = (loops[-1][0] * size, step)
        else:
            loops.append((size, step))
    if len(loops) > 2:
        return None
    if not loops:
        return 1, 0, 0
    if len(loops) == 1:
        return loops[0][0], 0, loops[0][1]
    return loops[1][0], loops[0][1], loops[1][1]
