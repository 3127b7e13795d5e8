"""A provider is one way to compute an operation: ours or another library's.

`build(inputs)` prepares what a user prepares once (an index, a compiled function, a contiguous table) and returns the
call that is timed. The call takes the same planar images and row-major vectors as gsskernels and returns a tensor or
array in the shape that gsskernels returns, so conversions are part of its time. A provider of the role "roof" does not
answer the question; it bounds the time of those that do.
"""

from __future__ import annotations

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
from gsskernels import _dispatch

Inputs = SimpleNamespace
Build = Callable[[Inputs], Callable[[], Any]]
Cannot = Callable[[Case], str | None]

OFFICIAL = "official formula"
EAGER = "eager PyTorch"
COMPILED = "torch.compile"
COPY = "copy of the same bytes"
MATRIX_PRODUCT = "torch.mm alone"
REFERENCE = "gsskernels reference"
OURS = {"cpu": "gsskernels native", "cuda": "gsskernels triton"}
ISAS = ("baseline", "avx2", "avx512", "avx512bf16")
MODULES = {
    "opencv": "cv2",
    "scikit-learn": "sklearn",
    "vector-quantize-pytorch": "vector_quantize_pytorch",
    "flash-kmeans": "flash_kmeans",
    "liger-kernel": "liger_kernel",
    "cut-cross-entropy": "cut_cross_entropy",
}
SWEEPS = ("table", "pixels", "classes", "rows", "codes", "features", "threads")
BOTH, CPU, CUDA = ("cpu", "cuda"), ("cpu",), ("cuda",)

scratch_limit = 4 * 2**30  # bytes that a provider may hold beside its inputs; a run on a GPU raises it


@dataclass(frozen=True)
class Provider:
    name: str
    build: Build
    library: str = "torch"
    devices: tuple[str, ...] = BOTH
    studies: tuple[str, ...] = ("table",)
    backend: str | None = None  # of gsskernels
    isa: str | None = None
    role: str = "answer"  # or "roof"
    cannot: Cannot = lambda case: None  # the reason why it cannot do a case
    exact: bool = True  # False where the answer is a random draw or of another precision

    def takes_part(self, case: Case, device: str) -> bool:
        return case.study in self.studies and device in self.devices

    def active(self) -> AbstractContextManager[None]:
        """The context in which its call has to be made."""
        if self.isa is None:
            return nullcontext()
        from gsskernels.native import library

        return library.forced_isa(self.isa)

    def why_not(self, case: Case) -> str | None:
        """The reason why it cannot run here or cannot do the case, or None."""
        return self._missing() or self.cannot(case)

    def _missing(self) -> str | None:
        if self.backend is not None:
            if (reason := _dispatch.why_missing(self.backend)) is not None:
                return reason.splitlines()[0]
            if self.isa is not None:
                from gsskernels.native import library

                return None if self.isa in library.available_isas() else f"this processor or build has no {self.isa}"
            return None
        if self.library != "torch" and importlib.util.find_spec(MODULES.get(self.library, self.library)) is None:
            return f"{self.library} is not installed"
        return None


def ours(function: str, arguments: Callable[[Inputs], tuple[Sequence[Any], dict[str, Any]]], wrap: Any = None) -> list:
    """The native backend with its best instruction set and with every lesser one, the Triton backend, the reference.

    `arguments` gives the arguments of the public function; `wrap` turns the bound call into the one to time.
    """
    public = getattr(gsskernels, function)

    def build(inputs: Inputs, backend: str) -> Callable[[], Any]:
        positional, named = arguments(inputs)
        call = partial(public, *positional, **named, backend=backend)
        return call if wrap is None else wrap(inputs, call)

    def provider(name: str, backend: str, devices: tuple[str, ...], studies: tuple[str, ...], isa: str | None = None):
        exact = function != "linear_sample"
        return Provider(
            name, partial(build, backend=backend), "gsskernels", devices, studies, backend=backend, isa=isa, exact=exact
        )

    return [
        provider(OURS["cpu"], "native", CPU, (*SWEEPS, "overhead")),
        *(provider(f"{OURS['cpu']}, {isa}", "native", CPU, ("table",), isa) for isa in ISAS),
        provider(OURS["cuda"], "triton", CUDA, ("table", "overhead")),
        provider(REFERENCE, "reference", CPU, ("table", "threads", "overhead")),
    ]


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """torch.compile for exactly these shapes; the first call compiles."""
    return partial(torch.compile(function, dynamic=False, fullgraph=True), *arguments)


# --- Roofs of a case ------------------------------------------------------------------------------------------------


def _copy(inputs: Inputs) -> Callable[[], Any]:
    source = torch.zeros(max(1, work(inputs.case).bytes // 2), dtype=torch.uint8, device=inputs.device)
    return partial(torch.empty_like(source).copy_, source)


def _product(inputs: Inputs) -> Callable[[], Any]:
    out = inputs.x.new_empty(len(inputs.x), len(inputs.table))
    return partial(torch.mm, inputs.x.detach(), inputs.table.detach().t(), out=out)


def _small(inputs: Inputs) -> Callable[[], Any]:
    return partial(torch.add, torch.zeros(4, device=inputs.device), 1)


ONE_COPY = Provider(COPY, _copy, role="roof", studies=("table", "pixels", "threads"))
ONE_PRODUCT = Provider(MATRIX_PRODUCT, _product, role="roof", studies=SWEEPS)
SMALL_OP = Provider("one small torch op", _small, role="roof", studies=("overhead",))


# --- Why a provider cannot do a case --------------------------------------------------------------------------------


def too_large(scratch: Callable[[Case], float]) -> Cannot:
    """For a provider that would hold `scratch(case)` bytes."""

    def cannot(case: Case) -> str | None:
        size = scratch(case)
        return f"it would hold {size / 2**30:.0f} GiB at once" if size > scratch_limit else None

    return cannot


def only(*dtypes: str) -> Cannot:
    return lambda case: None if case.dtype in dtypes else f"it takes {' and '.join(dtypes)} only"


def no_bfloat16(case: Case) -> str | None:
    return "it has no bfloat16" if case.sizes.get("dtype") == "bfloat16" else None


def all_of(*reasons: Cannot) -> Cannot:
    return lambda case: next((why for reason in reasons if (why := reason(case))), None)


# --- Results --------------------------------------------------------------------------------------------------------


def agreement(result: Any, expected: Any) -> float:
    """Share of the elements that equal the reference's; floats within 1e-3 of the largest (3e-2 in half precision).

    Integers that are zero in both are left out: most counts of a confusion matrix are. The worst of several tensors
    counts. Raises ValueError for another number or shape of tensors.
    """
    got, wanted = _tensors(result), _tensors(expected)
    shapes = [[tuple(t.shape) for t in tensors] for tensors in (got, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"result: expected tensors of shapes {shapes[1]}, got {shapes[0]}")
    worst = 1.0
    for a, b in zip(got, wanted, strict=True):
        if b.is_floating_point():
            bound = (1e-3 if a.dtype in (torch.float32, torch.float64) else 3e-2) * max(1.0, float(b.abs().max()))
            same = (a.double() - b.double()).abs() <= bound
        else:
            same = (a.long() == b.long())[(a != 0) | (b != 0)]
        worst = min(worst, float(same.double().mean()) if same.numel() else 1.0)
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
