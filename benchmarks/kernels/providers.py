"""What a provider is: one way to compute an operation, ours or another library's.

`build(inputs)` prepares what a user would prepare once (an index, a compiled function, a contiguous table) and returns
the call that is timed. The call takes the same planar images and row-major vectors as gsskernels and returns a tensor
or array in the shape gsskernels returns: whatever it must convert is part of its time. A provider of role "roof" does
not answer the question but bounds those that do.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gsskernels
from benchmarks.kernels.cases import Case, work
from gsskernels import _dispatch, reference

Inputs = SimpleNamespace
Build = Callable[[Inputs], Callable[[], Any]]

OFFICIAL = "official formula"
COMPILED = "torch.compile"
FAISS = "faiss"
COPY = "copy of the same bytes"
MATRIX_PRODUCT = "torch.mm alone"
SMALL_OP = "one small torch op"
REFERENCE = "gsskernels reference"
NATIVE = "gsskernels native"
TRITON = "gsskernels triton"
ISAS = ("baseline", "avx2", "avx512", "avx512bf16")
scratch_limit = 4 * 2**30  # bytes a provider may be expected to take beside its inputs; a run on a GPU raises it

MODULES = {"opencv": "cv2", "scikit-learn": "sklearn", "vector-quantize-pytorch": "vector_quantize_pytorch"}


def _anything(case: Case) -> str | None:
    return None


@dataclass(frozen=True)
class Provider:
    name: str
    build: Build
    library: str = "torch"
    backend: str | None = None  # of gsskernels
    isa: str | None = None
    function: str | None = None  # the gsskernels function it calls
    role: str = "answer"  # or "roof"
    studies: tuple[str, ...] = ("table",)  # where it takes part
    cannot: Callable[[Case], str | None] = _anything  # why it cannot do a case
    exact: bool = True  # False: its answers are random draws

    def active(self) -> AbstractContextManager[None]:
        """Where its call has to be made."""
        if self.isa is None:
            return nullcontext()
        from gsskernels.native import library

        return library.forced_isa(self.isa)

    def missing(self) -> str | None:
        """Why it cannot run in this installation, or None."""
        if self.backend == "native":
            return _native_missing(self.isa, self.function)
        if self.backend is not None:
            return _dispatch.why_missing(self.backend)
        if self.library not in ("torch", "numpy") and importlib.util.find_spec(module(self.library)) is None:
            return f"{self.library} is not installed"
        return None

    def why_not(self, case: Case) -> str | None:
        return self.missing() or self.cannot(case)


def module(library: str) -> str:
    return MODULES.get(library, library)


def _native_missing(isa: str | None, function: str | None) -> str | None:
    if (reason := _dispatch.why_missing("native")) is not None:
        return reason.splitlines()[0]
    native = importlib.import_module("gsskernels.native")
    if function is not None and getattr(native, function) is getattr(reference, function):
        return "the native backend has no implementation of its own yet"
    if isa is not None and isa not in native.library.available_isas():
        return f"this processor or build has no {isa}"
    return None


EVERYWHERE = ("table", "pixels", "classes", "rows", "codes", "features", "threads")


def ours(function: str, arguments: Callable[[Inputs], tuple[Sequence[Any], dict[str, Any]]], wrap: Any = None) -> list:
    """The reference, the native backend with its best instruction set and every lesser one, and the Triton backend.

    `arguments` gives those of the public function; `wrap` turns the bound call into the one to time.
    """
    public = getattr(gsskernels, function)

    def build(inputs: Inputs, backend: str) -> Callable[[], Any]:
        positional, named = arguments(inputs)
        call = partial(public, *positional, **named, backend=backend)
        return call if wrap is None else wrap(inputs, call)

    exact = function != "linear_sample"
    native = partial(Provider, build=partial(build, backend="native"), library="gsskernels", backend="native")
    return [
        Provider(
            NATIVE, partial(build, backend="native"), "gsskernels", "native", function=function,
            studies=(*EVERYWHERE, "overhead"), exact=exact,
        ),
        *(native(f"{NATIVE}, {isa}", isa=isa, function=function, exact=exact) for isa in ISAS),
        Provider(
            REFERENCE, partial(build, backend="reference"), "gsskernels", "reference",
            studies=("table", "threads", "overhead"), exact=exact,
        ),
        Provider(
            TRITON, partial(build, backend="triton"), "gsskernels", "triton", function=function,
            studies=("table", "overhead"), exact=exact,
        ),
    ]  # fmt: skip


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """torch.compile for exactly these shapes; the first call compiles."""
    return partial(torch.compile(function, dynamic=False, fullgraph=True), *arguments)


def copy_of_the_same_bytes() -> Provider:
    """torch's copy between buffers that exist, moving as many bytes as the case must: a roof under its conditions."""

    def build(inputs: Inputs) -> Callable[[], Any]:
        source = torch.zeros(max(1, work(inputs.case).bytes // 2), dtype=torch.uint8, device=inputs.device)
        return partial(torch.empty_like(source).copy_, source)

    return Provider(COPY, build, role="roof", studies=("table", "pixels", "threads"))


def matrix_product() -> Provider:
    """The product of an affine argmax and nothing else: (N, D) x (D, V) into a buffer that exists."""

    def build(inputs: Inputs) -> Callable[[], Any]:
        out = inputs.x.new_empty(len(inputs.x), len(inputs.table))
        return partial(torch.mm, inputs.x.detach(), inputs.table.detach().t(), out=out)

    return Provider(MATRIX_PRODUCT, build, role="roof", studies=EVERYWHERE)


def small_torch_op() -> Provider:
    def build(inputs: Inputs) -> Callable[[], Any]:
        return partial(torch.add, torch.zeros(4, device=inputs.device), 1)

    return Provider(SMALL_OP, build, role="roof", studies=("overhead",))


def too_large(scratch: Callable[[Case], float]) -> Callable[[Case], str | None]:
    """`cannot` of a provider that would hold `scratch(case)` bytes."""

    def cannot(case: Case) -> str | None:
        size = scratch(case)
        return f"it would hold {size / 2**30:.0f} GiB at once" if size > scratch_limit else None

    return cannot


def no_bfloat16(case: Case) -> str | None:
    return "it has no bfloat16" if case.sizes.get("dtype") == "bfloat16" else None


def only(*dtypes: str) -> Callable[[Case], str | None]:
    def cannot(case: Case) -> str | None:
        return None if case.dtype in dtypes else f"it takes {' and '.join(dtypes)} only"

    return cannot


def all_of(*reasons: Callable[[Case], str | None]) -> Callable[[Case], str | None]:
    def cannot(case: Case) -> str | None:
        return next((why for reason in reasons if (why := reason(case))), None)

    return cannot


def agreement(result: Any, expected: Any) -> float:
    """Share of a result's elements that are the reference's: equal integers, floats within 1e-3 of the largest
    (3e-2 in half precision). Shapes must agree; the worst of several tensors counts."""
    got, wanted = _tensors(result), _tensors(expected)
    assert len(got) == len(wanted), f"{len(got)} results, expected {len(wanted)}"
    worst = 1.0
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape, f"shape {tuple(a.shape)}, expected {tuple(b.shape)}"
        if b.is_floating_point():
            bound = (1e-3 if a.dtype in (torch.float32, torch.float64) else 3e-2) * max(1.0, float(b.abs().max()))
            same = (a.double() - b.double()).abs() <= bound
        else:
            same = a.long() == b.long()
        worst = min(worst, float(same.double().mean()))
    return worst


def size_of(result: Any) -> int:
    """Bytes of the tensors and arrays of a result."""
    return sum(t.numel() * t.element_size() for t in _tensors(result))


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, (tuple, list)):
        return [t for part in result for t in _tensors(part)]
    if isinstance(result, np.ndarray):
        return [torch.from_numpy(np.ascontiguousarray(result))]
    return [result.detach()]
