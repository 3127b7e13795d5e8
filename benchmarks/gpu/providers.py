"""Who takes part on a GPU: PyTorch's ways and ours from `benchmarks.kernels`, and libraries that only a GPU has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.place import Place
from benchmarks.kernels import providers as shared
from benchmarks.kernels import registry
from benchmarks.kernels.cases import Case
from benchmarks.kernels.providers import TRITON, Inputs, Provider, only
from benchmarks.kernels.providers_codebook import _affine, _half_norms
from benchmarks.kernels.providers_linear import with_gradients

shared.MODULES.update(
    {"flash-kmeans": "flash_kmeans", "liger-kernel": "liger_kernel", "cut-cross-entropy": "cut_cross_entropy"}
)
ON_GPU = ("torch", "vector-quantize-pytorch", "gsskernels", "flash-kmeans", "liger-kernel", "cut-cross-entropy")


def taking_part(case: Case, place: Place) -> list[Provider]:
    """Ours last. In a dry run it is the backend that stands in for the kernels, under the name of the kernels."""
    known = [*ADDED.get(case.op, []), *registry.PROVIDERS[case.op]]
    found = [p for p in known if case.study in p.studies and p.library in ON_GPU and p.backend in (None, "triton")]
    return [_stand_in(p, place) if p.backend == "triton" else p for p in found]


def reference(case: Case) -> Provider:
    return next(p for p in registry.PROVIDERS[case.op] if p.backend == "reference")


def _stand_in(provider: Provider, place: Place) -> Provider:
    if place.backend == "triton":
        return provider
    build: Any = provider.build
    return replace(provider, build=partial(build.func, backend=place.backend), backend=place.backend)


# --- nearest_code ---------------------------------------------------------------------------------------------------


def _flash_kmeans(inputs: Inputs) -> Callable[[], Any]:
    """Its assignment step; |x|^2, where a version wants it, is made beforehand and flatters it."""
    from flash_kmeans.assign_euclid_triton import euclid_assign_triton

    x, codes = inputs.x[None], inputs.table[None]
    squares = (
        {"x_sq": x.float().square().sum(2)} if "x_sq" in inspect.signature(euclid_assign_triton).parameters else {}
    )
    return lambda: euclid_assign_triton(x, codes, **squares)[0]


def _tf32(inputs: Inputs) -> Callable[[], Any]:
    """Products in TF32: another precision, and what a float32 answer costs those who do not ask for one."""
    codes, half = inputs.table, _half_norms(inputs.table)

    def call() -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return _affine(inputs.x, codes, half)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False

    return call


def _ours_in(precision: str) -> Callable[[Inputs], Callable[[], Any]]:
    import gsskernels

    def build(inputs: Inputs, backend: str = "triton") -> Callable[[], Any]:
        return partial(gsskernels.nearest_code, inputs.x, inputs.table, precision=precision, backend=backend)

    return partial(build, backend="triton")


def _float32_only(case: Case) -> str | None:
    return only("float32")(case)


# --- linear_cross_entropy -------------------------------------------------------------------------------------------


def _liger(inputs: Inputs) -> Callable[[], Any]:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return with_gradients(
        inputs, partial(liger_fused_linear_cross_entropy, inputs.x, inputs.table, inputs.target, inputs.bias)
    )


def _cut(inputs: Inputs, impl: str) -> Callable[[], Any]:
    from cut_cross_entropy import linear_cross_entropy

    arguments = (inputs.x, inputs.table, inputs.target, inputs.bias)
    return with_gradients(inputs, partial(linear_cross_entropy, *arguments, impl=impl))


ADDED: dict[str, list[Provider]] = {
    "nearest_code": [
        Provider("flash-kmeans assign", _flash_kmeans, "flash-kmeans"),
        Provider("eager PyTorch in TF32, addmm + argmin", _tf32, cannot=_float32_only, exact=False),
        Provider(
            f"{TRITON}, precision tf32", _ours_in("tf32"), "gsskernels", "triton", cannot=_float32_only, exact=False
        ),
        Provider(
            f"{TRITON}, precision bf16", _ours_in("bf16"), "gsskernels", "triton", cannot=_float32_only, exact=False
        ),
    ],
    "linear_cross_entropy": [
        Provider("Liger-Kernel", _liger, "liger-kernel"),
        Provider("cut-cross-entropy", partial(_cut, impl="cce"), "cut-cross-entropy"),
        Provider("cut-cross-entropy, exact", partial(_cut, impl="cce_exact"), "cut-cross-entropy"),
    ],
}
