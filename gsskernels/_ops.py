"""The operations as torch.library operators ``torch.ops.gsskernels.*``: schema, fake kernel, gradient, vmap rule.

An operator is opaque to torch.compile and torch.export: a graph holds one node whatever the number of classes. It
chooses its backend when it runs. All schemas are functional: nothing is mutated and no output aliases an input. The
public functions validate before they call these; the operators themselves take canonical arguments (`dim` counted from
the front, operands of one dtype).

torch.func.vmap works on all of them. torch.func.grad does not: torch has no rule yet for gradients registered with an
operator; torch.autograd has.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gsskernels._dispatch import select

_library = torch.library.Library("gsskernels", "DEF")


def _define(schema: str, fake: Callable[..., Any], run: Callable[..., Any] | None = None) -> Any:
    """One operator whose kernel, on every device, is the function of its name in the chosen backend, or `run`."""
    name = schema.partition("(")[0]

    def run_backend(*arguments: Any) -> Any:
        return getattr(select(arguments[-1], arguments[0].device), name)(*arguments[:-1])

    _library.define(f"{schema.replace(') ->', ', str? backend) ->')}", tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, run or run_backend, "CompositeExplicitAutograd")
    torch.library.register_fake(f"gsskernels::{name}", fake, lib=_library)
    return getattr(torch.ops.gsskernels, name).default


def _label_dtype(palette: Tensor) -> torch.dtype:
    return torch.uint8 if palette.shape[0] <= 255 else torch.int32


def _rows(x: Tensor, dim: int) -> list[int]:
    return [*x.shape[:dim], *x.shape[dim + 1 :]]


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype is torch.float64 else torch.float32


# --- Maskiges -----------------------------------------------------------------------------------------------------


def _encode_fake(labels, palette, scale, shift, ignore_index, ignore_color, dtype, backend):  # type: ignore[no-untyped-def]
    return labels.new_empty((*labels.shape[:-2], 3, *labels.shape[-2:]), dtype=dtype)


def _decode_fake(maskige, palette, size, resize, backend):  # type: ignore[no-untyped-def]
    return maskige.new_empty((*maskige.shape[:-3], *(size or maskige.shape[-2:])), dtype=_label_dtype(palette))


def _decode_margin_fake(maskige, palette, size, resize, backend):  # type: ignore[no-untyped-def]
    labels = _decode_fake(maskige, palette, size, resize, backend)
    return labels, torch.empty_like(labels, dtype=torch.float32)


def _evaluate_fake(maskige, palette, target, ignore_index, resize, backend):  # type: ignore[no-untyped-def]
    return maskige.new_empty((palette.shape[0], palette.shape[0]), dtype=torch.int64)


def _label_resize_fake(labels, size, num_classes, ignore_index, backend):  # type: ignore[no-untyped-def]
    return labels.new_empty((*labels.shape[:-2], *size))


def _confusion_fake(prediction, target, num_classes, ignore_index, backend):  # type: ignore[no-untyped-def]
    return prediction.new_empty((num_classes, num_classes), dtype=torch.int64)


def _encode(labels, *arguments):  # type: ignore[no-untyped-def]
    return select(arguments[-1], labels.device).maskige_encode(labels, *arguments[:-1])


def _decode(maskige, palette, size, resize, backend):  # type: ignore[no-untyped-def]
    return select(backend, maskige.device).maskige_decode(maskige, palette, size, resize, False)[0]


def _decode_margin(maskige, palette, size, resize, backend):  # type: ignore[no-untyped-def]
    return select(backend, maskige.device).maskige_decode(maskige, palette, size, resize, True)


maskige_encode = _define(
    "maskige_encode(Tensor labels, Tensor palette, float scale, float shift, SymInt ignore_index, "
    "float[] ignore_color, ScalarType dtype) -> Tensor",
    _encode_fake,
)
maskige_encode_with_gradient = _define(
    "maskige_encode_with_gradient(Tensor labels, Tensor palette, float scale, float shift, SymInt ignore_index, "
    "float[] ignore_color, ScalarType dtype) -> Tensor",
    _encode_fake,
    _encode,
)
maskige_decode = _define(
    "maskige_decode(Tensor maskige, Tensor palette, SymInt[]? size, str resize) -> Tensor", _decode_fake, _decode
)
maskige_decode_margin = _define(
    "maskige_decode_margin(Tensor maskige, Tensor palette, SymInt[]? size, str resize) -> (Tensor, Tensor)",
    _decode_margin_fake,
    _decode_margin,
)
maskige_evaluate = _define(
    "maskige_evaluate(Tensor maskige, Tensor palette, Tensor target, SymInt ignore_index, str resize) -> Tensor",
    _evaluate_fake,
)
label_resize = _define(
    "label_resize(Tensor labels, SymInt[] size, SymInt num_classes, SymInt ignore_index) -> Tensor", _label_resize_fake
)
confusion_matrix = _define(
    "confusion_matrix(Tensor prediction, Tensor target, SymInt num_classes, SymInt ignore_index) -> Tensor",
    _confusion_fake,
)

# --- Codebooks ----------------------------------------------------------------------------------------------------


def _nearest_code_fake(x, codebook, dim, precision, backend):  # type: ignore[no-untyped-def]
    return x.new_empty(_rows(x, dim), dtype=torch.int64)


def _linear_argmax_fake(x, weight, bias, dim, precision, backend):  # type: ignore[no-untyped-def]
    return x.new_empty(_rows(x, dim), dtype=torch.int64)


def _linear_sample_fake(x, weight, bias, temperature, seed, dim, backend):  # type: ignore[no-untyped-def]
    return x.new_empty(_rows(x, dim), dtype=torch.int64)


def _code_statistics_fake(x, codes, num_codes, dim, backend):  # type: ignore[no-untyped-def]
    return x.new_empty(num_codes, dtype=torch.int64), x.new_empty((num_codes, x.shape[dim]), dtype=_wide(x))


def _x_gradient_dtype(x: Tensor) -> torch.dtype:
    """Its own, but for float16: divided by many rows, a gradient would vanish there before a loss scale reaches it."""
    return torch.float32 if x.dtype is torch.float16 else x.dtype


def _gradients_fake(x, weight, gradients):  # type: ignore[no-untyped-def]
    like = ((x.shape, _x_gradient_dtype(x)), (weight.shape, _wide(x)), (weight.shape[:1], _wide(x)))
    return tuple(
        x.new_empty(shape if wanted else (0,), dtype=dtype)
        for (shape, dtype), wanted in zip(like, gradients, strict=True)
    )


def _loss_fake(x, weight, target, bias, dim, ignore_index, label_smoothing, reduction, backend):  # type: ignore[no-untyped-def]
    return x.new_empty(target.shape if reduction == "none" else (), dtype=_wide(x))


def _loss_with_gradients_fake(x, weight, target, *arguments):  # type: ignore[no-untyped-def]
    *_, reduction, gradients, _ = arguments
    loss = x.new_empty(target.shape if reduction == "none" else (), dtype=_wide(x))
    lse = x.new_empty(target.numel(), dtype=_wide(x))
    return loss, lse, *_gradients_fake(x, weight, gradients)


def _loss_backward_fake(  # type: ignore[no-untyped-def]
    grad, x, weight, target, bias, lse, dim, ignore_index, label_smoothing, reduction, gradients, backend
):
    return _gradients_fake(x, weight, gradients)


def _loss(x, *arguments):  # type: ignore[no-untyped-def]
    backend = select(arguments[-1], x.device)
    return backend.linear_cross_entropy(x, *arguments[:-1], (False, False, False))[0]


def _loss_with_gradients(x, *arguments):  # type: ignore[no-untyped-def]
    loss, lse, *gradients = select(arguments[-1], x.device).linear_cross_entropy(x, *arguments[:-1])
    return loss, lse, *_as_outputs(x, gradients)


def _loss_gradients(grad, x, *arguments):  # type: ignore[no-untyped-def]
    backend = select(arguments[-1], grad.device)
    return _as_outputs(x, backend.linear_cross_entropy_backward(grad, x, *arguments[:-1]))


def _as_outputs(x: Tensor, gradients: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """That of x in `_x_gradient_dtype`, since nothing more is added to it, and the sums over rows wide.

    Operators return no optional tensors; a gradient nobody asked for is an empty one.
    """
    dtypes = _x_gradient_dtype(x), _wide(x), _wide(x)
    return tuple(
        x.new_empty(0, dtype=dtype) if g is None else g.to(dtype) for g, dtype in zip(gradients, dtypes, strict=True)
    )


nearest_code = _define("nearest_code(Tensor x, Tensor codebook, int dim, str? precision) -> Tensor", _nearest_code_fake)
linear_argmax = _define(
    "linear_argmax(Tensor x, Tensor weight, Tensor? bias, int dim, str? precision) -> Tensor", _linear_argmax_fake
)
linear_sample = _define(
    "linear_sample(Tensor x, Tensor weight, Tensor? bias, float temperature, SymInt seed, int dim) -> Tensor",
    _linear_sample_fake,
)
code_statistics = _define(
    "code_statistics(Tensor x, Tensor codes, SymInt num_codes, int dim) -> (Tensor, Tensor)", _code_statistics_fake
)
linear_cross_entropy = _define(
    "linear_cross_entropy(Tensor x, Tensor weight, Tensor target, Tensor? bias, int dim, SymInt ignore_index, "
    "float label_smoothing, str reduction) -> Tensor",
    _loss_fake,
    _loss,
)
# `gradients` says for which of x, weight, bias the gradient of a "mean" or "sum" is computed in the same pass: three
# matrix products instead of the four of a backward pass that has to find the logits again.
linear_cross_entropy_with_gradients = _define(
    "linear_cross_entropy_with_gradients(Tensor x, Tensor weight, Tensor target, Tensor? bias, int dim, "
    "SymInt ignore_index, float label_smoothing, str reduction, bool[3] gradients) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _loss_with_gradients_fake,
    _loss_with_gradients,
)
linear_cross_entropy_backward = _define(
    "linear_cross_entropy_backward(Tensor grad, Tensor x, Tensor weight, Tensor target, Tensor? bias, Tensor lse, "
    "int dim, SymInt ignore_index, float label_smoothing, str reduction, bool[3] gradients) "
    "-> (Tensor, Tensor, Tensor)",
    _loss_backward_fake,
    _loss_gradients,
)

# --- Gradients ----------------------------------------------------------------------------------------------------


def _encode_setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    labels, palette, scale, _, ignore_index, _, _, backend = inputs
    ctx.save_for_backward(labels)
    ctx.arguments = palette.shape[0], palette.dtype, scale, ignore_index, backend


def _encode_backward(ctx, grad):  # type: ignore[no-untyped-def]
    """A colour's gradient is the sum over the pixels painted with it: the statistics of a code."""
    (labels,) = ctx.saved_tensors
    num_classes, dtype, scale, ignore_index, backend = ctx.arguments
    labels = labels.long()  # a scalar compared with a narrow dtype would wrap to it
    painted = torch.where(labels == ignore_index, -1, labels)
    _, sums = code_statistics(grad, painted, num_classes, grad.dim() - 3, backend)
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
        found = linear_cross_entropy_backward(
            grad.contiguous(), *ctx.saved_tensors, *ctx.arguments, wanted, ctx.backend
        )
    x_grad, weight_grad, bias_grad = (
        g.to(dtype) if want else None for g, dtype, want in zip(found, ctx.dtypes, wanted, strict=True)
    )
    return x_grad, weight_grad, None, bias_grad, *(None,) * 6


# On operators of their own: an autograd formula costs 14 microseconds a call, also where nothing wants a gradient.
torch.library.register_autograd(
    "gsskernels::maskige_encode_with_gradient", _encode_backward, setup_context=_encode_setup, lib=_library
)
torch.library.register_autograd(
    "gsskernels::linear_cross_entropy_with_gradients", _loss_backward, setup_context=_loss_setup, lib=_library
)

# --- vmap ---------------------------------------------------------------------------------------------------------


def _one_by_one(operator: Any, info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
    """Calls the operator for every element of the batch and stacks the results.

    `in_dims` has a number for a batched tensor, and None, or a list of None, for everything else.
    """
    calls = [
        operator(*(a.select(d, i) if isinstance(d, int) else a for a, d in zip(arguments, in_dims, strict=True)))
        for i in range(info.batch_size)
    ]
    if isinstance(calls[0], Tensor):
        return torch.stack(calls), 0
    stacked = tuple(torch.stack(parts) for parts in zip(*calls, strict=True))
    return stacked, (0,) * len(stacked)


def _as_leading_dimension(operator: Any, shifted: int | None) -> Callable[..., tuple[Any, Any]]:
    """Where only the first argument is batched, its batch is one more leading dimension of a single call.

    `shifted` is the position of a dimension number that grows by that.
    """

    def rule(info: Any, in_dims: tuple[Any, ...], first: Tensor, *others: Any) -> tuple[Any, Any]:
        if in_dims[0] is None or any(isinstance(d, int) for d in in_dims[1:]):
            return _one_by_one(operator, info, in_dims, first, *others)
        arguments = [first.movedim(in_dims[0], 0), *others]
        if shifted is not None:
            arguments[shifted] += 1
        found = operator(*arguments)
        return found, 0 if isinstance(found, Tensor) else (0,) * len(found)

    return rule


def _batch(operator: Any, rule: Callable[..., tuple[Any, Any]]) -> None:
    torch.library.register_vmap(operator._name, rule, lib=_library)


for _operator, _shifted in (
    (maskige_encode, None),
    (maskige_encode_with_gradient, None),
    (maskige_decode, None),
    (maskige_decode_margin, None),
    (label_resize, None),
    (nearest_code, 2),
    (linear_argmax, 3),
):
    _batch(_operator, _as_leading_dimension(_operator, _shifted))
# linear_sample as well: elements of a batch draw with the same seed, as separate calls would.
for _operator in (
    maskige_evaluate,
    confusion_matrix,
    linear_sample,
    code_statistics,
    linear_cross_entropy,
    linear_cross_entropy_with_gradients,
    linear_cross_entropy_backward,
):
    _batch(_operator, lambda info, in_dims, *a, _operator=_operator: _one_by_one(_operator, info, in_dims, *a))
