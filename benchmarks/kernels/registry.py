"""Every operation with its providers."""

from __future__ import annotations

from benchmarks.kernels import (
    providers_codebook,
    providers_decode,
    providers_encode,
    providers_labels,
    providers_linear,
)
from benchmarks.kernels.cases import Case
from benchmarks.kernels.providers import Provider

PROVIDERS: dict[str, list[Provider]] = {
    **providers_encode.PROVIDERS,
    **providers_decode.PROVIDERS,
    **providers_labels.PROVIDERS,
    **providers_codebook.PROVIDERS,
    **providers_linear.PROVIDERS,
}


def taking_part(case: Case) -> list[Provider]:
    """On a CPU; `benchmarks.gpu.providers` says who takes part on a GPU."""
    return [p for p in PROVIDERS[case.op] if case.study in p.studies and p.backend != "triton"]


def named(op: str, name: str) -> Provider:
    return next(provider for provider in PROVIDERS[op] if provider.name == name)
