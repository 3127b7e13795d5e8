"""Gradients of the operators, for torch.autograd.

torch.func.grad does not work on them: torch has no rule yet for gradients that are registered with an operator.
"""

import torch

from gsskernels import _ops


def _encode_setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    labels, palette, scale, _, ignore_index, _, _, backend = inputs
    ctx.save_for_backward(labels)
    ctx.arguments = palette.shape[0], palette.dtype, scale, ignore_index, backend


def _encode_backward(ctx, grad):  # type: ignore[no-untyped-def]
    """The gradient of a colour is the sum over its pixels, which code_statistics computes."""
    (labels,) = ctx.saved_tensors
    num_classes, dtype, scale, ignore_index, backend = ctx.arguments
    labels = labels.long()  # a scalar compared with a narrow dtype would wrap to it
    painted = torch.where(labels == ignore_index, -1, labels)
    _, sums = _ops.code_statistics(grad, painted, num_classes, grad.dim() - 3, backend)
    return None, (sums * scale).to(dtype), None, None, None, None, None, None


def _loss_setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    x, weight, target, bias, *arguments, gradients, backend = inputs
    _, lse, *found = output
    ctx.mark_non_differentiable(lse, *found)
    ctx.arguments, ctx.backend, ctx.in_forward = arguments, backend, any(gradients)
    ctx.dtypes = x.dtype, weight.dtype, None if bias is None else bias.dtype
    if ctx.in_forward:
        ctx.save_for_backward(*found)
    else:
        ctx.save_for_backward(x, weight, target, bias, lse)


def _loss_backward(ctx, grad, *_):  # type: ignore[no-untyped-def]
    if torch.is_grad_enabled():  # create_graph=True: a second derivative would silently lack this term
        raise NotImplementedError("linear_cross_entropy has no second derivative: call backward without create_graph")
    wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[3]]
    if ctx.in_forward:
        found = [g * grad if want else g for g, want in zip(ctx.saved_tensors, wanted, strict=True)]
    else:
        found = _ops.linear_cross_entropy_backward(
            grad.contiguous(), *ctx.saved_tensors, *ctx.arguments, wanted, ctx.backend
        )
    x_grad, weight_grad, bias_grad = (
        g.to(dtype) if want else None for g, dtype, want in zip(found, ctx.dtypes, wanted, strict=True)
    )
    return x_grad, weight_grad, None, bias_grad, *(None,) * 6


# Only the `..._with_gradient(s)` operators have a formula: it costs 14 microseconds a call even where no input requires
# a gradient.
torch.library.register_autograd(
    "gsskernels::maskige_encode_with_gradient", _encode_backward, setup_context=_encode_setup, lib=_ops.library
)
torch.library.register_autograd(
    "gsskernels::linear_cross_entropy_with_gradients", _loss_backward, setup_context=_loss_setup, lib=_ops.library
)
