"""The operations as torch.library operators ``torch.ops.gsskernels.*``: schemas, kernels and fake kernels.

An operator is opaque to torch.compile and torch.export: a graph holds one node whatever the number of classes. The
operator chooses its backend when it runs. All schemas are functional: nothing is mutated and no output aliases an
input. The public functions validate their arguments and then call these operators with canonical arguments (`dim`
counted from the front, operands of one dtype). `_autograd` registers the gradients and `_vmap` the rules for
torch.func.vmap.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gsskernels._dispatch import select
from gsskernels.reference.cross_entropy import CrossEntropyOptions

library = torch.library.Library("gsskernels", "DEF")


def _define(schema: str, fake: Callable[..., Any], run: Callable[..., Any] | None = None) -> Any:
    """Defines an operator. Its kernel on every device is `run`, or the function of the same name in the backend."""
    name = schema.partition("(")[0]

    def run_backend(*arguments: Any) -> Any:
        return getattr(select(arguments[-1], arguments[0].device), name)(*arguments[:-1])

    library.define(f"{schema.replace(') ->', ', str? backend) ->')}", tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, run or run_backend, "CompositeExplicitAutograd")
    torch.library.register_fake(f"gsskernels::{name}", fake, lib=library)
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
    """The dtype of x, except that float16 becomes float32.

    A gradient that is divided by the number of rows would underflow in float16 before a loss scale multiplies it.
    """
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


def _loss(x, weight, target, bias, *arguments):  # type: ignore[no-untyped-def]
    *options, backend = arguments
    return select(backend, x.device).linear_cross_entropy(x, weight, target, bias, CrossEntropyOptions(*options))[0]


def _loss_with_gradients(x, weight, target, bias, *arguments):  # type: ignore[no-untyped-def]
    *options, backend = arguments
    found = select(backend, x.device).linear_cross_entropy(x, weight, target, bias, CrossEntropyOptions(*options))
    loss, lse, *gradients = found
    return loss, lse, *_as_outputs(x, gradients)


def _loss_gradients(grad, x, weight, target, bias, lse, *arguments):  # type: ignore[no-untyped-def]
    *options, backend = arguments
    backward = select(backend, grad.device).linear_cross_entropy_backward
    return _as_outputs(x, backward(grad, x, weight, target, bias, lse, CrossEntropyOptions(*options)))


def _as_outputs(x: Tensor, gradients: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """The gradient of x in `_x_gradient_dtype`, the gradients of weight and bias in at least float32.

    An operator cannot return None: a gradient that was not asked for is an empty tensor.
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
# `gradients` tells for which of x, weight and bias the forward pass also computes the gradient of a "mean" or "sum".
# This takes three matrix products; with a separate backward pass, which computes the logits again, it takes four.
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
