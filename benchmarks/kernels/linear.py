"""Providers of linear_argmax, linear_sample and linear_cross_entropy: a token head without stored logits."""

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
    CPU,
    CUDA,
    EAGER,
    OFFICIAL,
    ONE_PRODUCT,
    SMALL_OP,
    SWEEPS,
    Inputs,
    Provider,
    all_of,
    compiled,
    no_bfloat16,
    ours,
    too_large,
)

LOGITS = too_large(lambda case: 2 * scores_bytes(case))


def _head(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    return inputs.x, inputs.table, inputs.bias


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


# --- linear_cross_entropy -------------------------------------------------------------------------------------------


def with_gradients(inputs: Inputs, loss_of: Callable[[], Tensor]) -> Callable[[], Any]:
    """The loss; for a backward case also the gradients of x, weight and bias."""
    if not inputs.backward:
        return lambda: torch.no_grad()(loss_of)()
    leaves = [t.requires_grad_() for t in _head(inputs)]

    def call() -> tuple[Tensor, ...]:
        loss = loss_of()
        return loss, *torch.autograd.grad(loss, leaves)

    return call


def _arguments(inputs: Inputs) -> tuple[Tensor, ...]:
    return inputs.x, inputs.table, inputs.target, inputs.bias


def _official_entropy(inputs: Inputs) -> Callable[[], Any]:
    return with_gradients(inputs, partial(official.linear_cross_entropy, *_arguments(inputs)))


def _compiled_entropy(inputs: Inputs) -> Callable[[], Any]:
    return with_gradients(inputs, compiled(official.linear_cross_entropy, *_arguments(inputs)))


def _torch_entropy(inputs: Inputs) -> Callable[[], Any]:
    """PyTorch's own function, whose chunks bound the memory."""
    x, weight, target, bias = _arguments(inputs)
    options = torch.nn.LinearCrossEntropyOptions()
    return with_gradients(inputs, partial(F.linear_cross_entropy, x, weight, target, linear_bias=bias, options=options))


def _liger(inputs: Inputs) -> Callable[[], Any]:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return with_gradients(inputs, partial(liger_fused_linear_cross_entropy, *_arguments(inputs)))


def _cut(inputs: Inputs, impl: str) -> Callable[[], Any]:
    from cut_cross_entropy import linear_cross_entropy

    return with_gradients(inputs, partial(linear_cross_entropy, *_arguments(inputs), impl=impl))


PROVIDERS = {
    "linear_argmax": [
        ONE_PRODUCT,
        Provider(
            f"{OFFICIAL}, linear + argmax",
            lambda i: partial(official.linear_argmax, *_head(i)),
            studies=(*SWEEPS, "overhead"),
            cannot=LOGITS,
        ),
        Provider(COMPILED, lambda i: compiled(official.linear_argmax, *_head(i)), cannot=LOGITS),
        Provider("faiss inner product", _faiss_argmax, "faiss", CPU, cannot=no_bfloat16),
        Provider("numpy", _numpy_argmax, "numpy", CPU, cannot=all_of(no_bfloat16, LOGITS)),
        SMALL_OP,
        *ours("linear_argmax", lambda i: (_head(i), {})),
    ],
    "linear_sample": [
        ONE_PRODUCT,
        Provider(
            f"{OFFICIAL}, softmax + multinomial",
            lambda i: partial(official.linear_sample, *_head(i)),
            studies=("table", "overhead"),
            cannot=LOGITS,
            exact=False,
        ),
        Provider(f"{EAGER}, Gumbel-max", lambda i: partial(_gumbel, *_head(i)), cannot=LOGITS, exact=False),
        Provider(f"{COMPILED}, Gumbel-max", lambda i: compiled(_gumbel, *_head(i)), cannot=LOGITS, exact=False),
        SMALL_OP,
        *ours("linear_sample", lambda i: (_head(i), {})),
    ],
    "linear_cross_entropy": [
        ONE_PRODUCT,
        Provider(
            f"{OFFICIAL}, cross_entropy of linear",
            _official_entropy,
            studies=(*SWEEPS, "overhead"),
            cannot=LOGITS,
        ),
        Provider(COMPILED, _compiled_entropy, studies=SWEEPS, cannot=LOGITS),
        Provider("F.linear_cross_entropy", _torch_entropy, studies=SWEEPS),
        Provider("Liger-Kernel", _liger, "liger-kernel", CUDA),
        Provider("cut-cross-entropy", partial(_cut, impl="cce"), "cut-cross-entropy", CUDA),
        Provider("cut-cross-entropy, exact", partial(_cut, impl="cce_exact"), "cut-cross-entropy", CUDA),
        SMALL_OP,
        *ours("linear_cross_entropy", lambda i: (_arguments(i), {}), with_gradients),
    ],
}
