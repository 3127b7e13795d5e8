"""linear_argmax, linear_sample and linear_cross_entropy: a token head whose logits are not stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels import official
from benchmarks.kernels.cases import scores_bytes
from benchmarks.kernels.providers import (
    COMPILED,
    EVERYWHERE,
    FAISS,
    OFFICIAL,
    Inputs,
    Provider,
    all_of,
    compiled,
    matrix_product,
    no_bfloat16,
    ours,
    small_torch_op,
    too_large,
)

LOGITS = too_large(lambda case: 2 * scores_bytes(case))


def _head(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    return inputs.x, inputs.table, inputs.bias


def _compiled_argmax(inputs: Inputs) -> Callable[[], Any]:
    return compiled(official.linear_argmax, *_head(inputs))


def _faiss_argmax(inputs: Inputs) -> Callable[[], Any]:
    """Inner products with the bias as one more feature."""
    import faiss

    index = faiss.IndexFlatIP(inputs.features + 1)
    index.add(torch.cat([inputs.table, inputs.bias[:, None]], 1).numpy())
    one = torch.ones(inputs.rows, 1)
    return lambda: index.search(torch.cat([inputs.x, one], 1).numpy(), 1)[1][:, 0]


def _numpy_argmax(inputs: Inputs) -> Callable[[], Any]:
    x, weight, bias = (t.numpy() for t in _head(inputs))
    return lambda: (x @ weight.T + bias).argmax(1)


def _gumbel(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    logits = F.linear(x, weight, bias)
    return (logits - torch.empty_like(logits).exponential_().log()).argmax(1)


def with_gradients(inputs: Inputs, loss_of: Callable[[], Tensor]) -> Callable[[], Any]:
    """The loss, and with backward also the gradients of x, weight and bias."""
    if not inputs.backward:
        return lambda: torch.no_grad()(loss_of)()
    leaves = [t.requires_grad_() for t in _head(inputs)]

    def call() -> tuple[Tensor, ...]:
        loss = loss_of()
        return loss, *torch.autograd.grad(loss, leaves)

    return call


def _official_entropy(inputs: Inputs) -> Callable[[], Any]:
    x, weight, bias = _head(inputs)
    return with_gradients(inputs, partial(official.linear_cross_entropy, x, weight, inputs.target, bias))


def _compiled_entropy(inputs: Inputs) -> Callable[[], Any]:
    x, weight, bias = _head(inputs)
    return with_gradients(inputs, compiled(official.linear_cross_entropy, x, weight, inputs.target, bias))


def _torch_entropy(inputs: Inputs) -> Callable[[], Any]:
    """PyTorch's own function with its chunks, which bound the memory."""
    x, weight, bias = _head(inputs)
    options = torch.nn.LinearCrossEntropyOptions()
    function = partial(F.linear_cross_entropy, x, weight, inputs.target, linear_bias=bias, options=options)
    return with_gradients(inputs, function)


def _arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return _head(inputs), {}


PROVIDERS = {
    "linear_argmax": [
        matrix_product(),
        Provider(OFFICIAL + ", linear + argmax", lambda i: partial(official.linear_argmax, *_head(i)),
                 studies=(*EVERYWHERE, "overhead"), cannot=LOGITS),
        Provider(COMPILED, _compiled_argmax, cannot=LOGITS),
        Provider(FAISS + " inner product", _faiss_argmax, "faiss", cannot=no_bfloat16),
        Provider("numpy", _numpy_argmax, "numpy", cannot=all_of(no_bfloat16, LOGITS)),
        small_torch_op(),
        *ours("linear_argmax", _arguments),
    ],
    "linear_sample": [
        matrix_product(),
        Provider(OFFICIAL + ", softmax + multinomial", lambda i: partial(official.linear_sample, *_head(i)),
                 studies=("table", "overhead"), cannot=LOGITS, exact=False),
        Provider("eager PyTorch, Gumbel-max", lambda i: partial(_gumbel, *_head(i)), cannot=LOGITS, exact=False),
        Provider(COMPILED + ", Gumbel-max", lambda i: compiled(_gumbel, *_head(i)), cannot=LOGITS, exact=False),
        small_torch_op(),
        *ours("linear_sample", _arguments),
    ],
    "linear_cross_entropy": [
        matrix_product(),
        Provider(OFFICIAL + ", cross_entropy of linear", _official_entropy, studies=(*EVERYWHERE, "overhead"),
                 cannot=LOGITS),
        Provider(COMPILED, _compiled_entropy, studies=EVERYWHERE, cannot=LOGITS),
        Provider("F.linear_cross_entropy", _torch_entropy, studies=EVERYWHERE),
        small_torch_op(),
        *ours("linear_cross_entropy", lambda i: ((i.x, i.table, i.target, i.bias), {}), with_gradients),
    ],
}  # fmt: skip
