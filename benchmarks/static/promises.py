"""Promised times on an H200, and the work each promised call consists of: Triton launches and PyTorch's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.static.catalogue import Call, catalogue
from benchmarks.static.compiler import Facts
from benchmarks.static.roofline import H200, Work
from benchmarks.static.variants import specialise
from benchmarks.static.work import work_of
from gsskernels.triton.launch import record
from gsskernels.triton.plan import SM_90


@dataclass(frozen=True)
class Promise:
    text: str
    seconds: float | None  # None: nothing is promised, but it is good to know
    call: str  # of the catalogue


_ENCODED = 4096 * 4096 * (1 + 3 * 4)  # bytes of labels and colours

PROMISES = {
    "encode/16mpx/float32": Promise(
        "encode 4096x4096, >= 90 % of copy bandwidth",
        _ENCODED / (0.9 * H200.copy),
        "encode 4096x4096 K=19 uint8 to float32",
    ),
    **{
        f"decode/k{k}/{dtype}": Promise(
            f"decode 1024x2048, K = {k}, {dtype}", seconds, f"decode 1024x2048 K={k} {dtype}"
        )
        for k, seconds in ((19, 8.5e-6), (150, 15e-6))
        for dtype in ("uint8", "float32")
    },
    **{
        f"evaluate/k{k}/float32": Promise(
            f"decode 256x512 + vote to 1024x2048 + confusion, K = {k}",
            seconds,
            f"evaluate 256x512 to 1024x2048 K={k} float32 by vote",
        )
        for k, seconds in ((19, 12e-6), (150, 20e-6))
    },
    "nearest_code/bfloat16": Promise(
        "nearest_code 73728 x 8192 x 256, bfloat16", 0.49e-3, "nearest_code 73728 x 8192 x 256 bfloat16"
    ),
    "nearest_code/float32": Promise(
        "nearest_code 73728 x 8192 x 256, certified float32", 0.70e-3, "nearest_code 73728 x 8192 x 256 float32"
    ),
    "linear_argmax/bfloat16": Promise(
        "linear_argmax 73728 x 2048 to 8192", 3.4e-3, "linear_argmax 73728 x 8192 x 2048 bfloat16"
    ),
    "linear_cross_entropy/bfloat16": Promise(
        "linear_cross_entropy 73728 x 2048 to 8192, forward and backward",
        10.3e-3,
        "linear_cross_entropy 73728 x 8192 x 2048 bfloat16 mean",
    ),
}

PROMISES |= {
    name: Promise(call, None, call)
    for name, call in {
        "nearest_code/tf32": "nearest_code 73728 x 8192 x 256 float32 tf32",
        "nearest_code/bfloat16/image": "nearest_code 9216 x 8192 x 256 bfloat16",
        "linear_argmax/float32": "linear_argmax 73728 x 8192 x 2048 float32",
        "linear_sample/bfloat16": "linear_sample 73728 x 8192 x 2048 bfloat16",
        "linear_cross_entropy/bfloat16/loss": "linear_cross_entropy 73728 x 8192 x 2048 bfloat16 mean loss only",
        "code_statistics/float32": "code_statistics 73728 x 8192 x 256 float32",
        "label_resize/k19/uint8": "label_resize 512x512 to 1024x2048 K=19 uint8",
        "confusion/k19/uint8": "confusion 1024x2048 K=19 uint8 uint8",
    }.items()
}

# Part of the rows that the later passes of a certified search see: unstructured Gaussian data, the worst measured
# (kernel files say how it was found). A launch's pass is told by whether it reads a list, and how many parts it has.
SECOND_PASS, THIRD_PASS = 0.06, 0.001


def promised(facts: Mapping[str, Facts]) -> dict[str, dict[str, Any]]:
    """Every promise with the work of its call. `facts` are by the identity of a variant."""
    calls = {call.name: call for call in catalogue()}
    return {
        name: {
            "text": promise.text,
            "promised_s": promise.seconds,
            "works": [w.as_data() for w in works(calls[promise.call], facts)],
        }
        for name, promise in PROMISES.items()
    }


def works(call: Call, facts: Mapping[str, Facts]) -> list[Work]:
    """What an SM_90 would do for a call. Raises KeyError for a launch that was not compiled."""
    with record(SM_90) as launches, Eager() as eager:
        call.run()
    found = []
    for launched in launches:
        variant = specialise(call.name, SM_90, launched)
        known = facts[variant.identity]
        if "error" in known:
            raise ValueError(f"{call.name}: {variant.name} does not compile: {known['error']}")
        found.append(work_of(launched, variant, known, _share(launched.arguments, variant.name)))
    return together([*found, *eager.works])


def together(works: list[Work]) -> list[Work]:
    """Equal works as one with the number of its launches, in the order of the first of each."""
    found: dict[str, list[Work]] = {}
    for work in works:
        found.setdefault(repr(work), []).append(work)
    return [replace(same[0], launches=len(same)) for same in found.values()]


def _share(arguments: Mapping[str, Any], kernel: str) -> float:
    if arguments.get("list_ptr") is None:
        return 1.0
    return THIRD_PASS if kernel in ("exact", "write") else SECOND_PASS


class Eager(TorchDispatchMode):
    """Collects what PyTorch itself computes: matrix products, and operations that move bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.works: list[Work] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if _is_view(func) or name in ("empty", "new_empty", "empty_like", "empty_strided", "detach"):
            return result
        given = [a for a in tree_leaves(args) if isinstance(a, Tensor)]
        written = [r for r in tree_leaves(result) if isinstance(r, Tensor)]
        if name in ("mm", "addmm", "addmm_"):
            left, right = given[-2:]
            item = left.element_size()
            self.works.append(
                Work(
                    name,
                    memory=float(item * (left.numel() + right.numel()) + _bytes([*given[:-2], *written])),
                    flops=2.0 * left.numel() * right.shape[-1],
                    rate="half" if item == 2 else "tf32",
                )
            )
        else:
            self.works.append(Work(name, memory=float(_bytes([*given, *written]))))
        return result


def _bytes(tensors: list[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _is_view(func: Any) -> bool:
    return any(a.alias_info is not None and not a.alias_info.is_write for a in func._schema.returns)
