"""Recorded launches as Triton would specialise them, so that the compiled code is the code that a GPU would run.

Triton applies these rules at a launch, which does not happen here. A tensor becomes a pointer to its element type,
known to be aligned where it starts at a multiple of 16 bytes. None and the integer 1 become constants. Other integers
become i32 or i64 by their value, known to be divisible by 16 where they are. do_not_specialize excepts parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from gsskernels.triton.launch import Launch
from gsskernels.triton.plan import Architecture

TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float64: "fp64",
    torch.bool: "u1",
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint16: "u16",
    torch.uint32: "u32",
    torch.uint64: "u64",
}
ALIGNMENT = 16


@dataclass(frozen=True)
class Variant:
    """A kernel with everything that decides its machine code, and the first call of the catalogue that needs it."""

    call: str
    kernel: Any
    signature: dict[str, str]  # parameter to type, "constexpr" for constants
    constants: dict[str, Any]
    aligned: tuple[str, ...]  # parameters that are multiples of 16, addresses or values
    options: dict[str, Any]
    architecture: Architecture
    integers: dict[str, int]  # values of the launch, for counts per score; not part of the identity

    @property
    def name(self) -> str:
        return self.kernel.__name__.strip("_").removesuffix("_kernel")

    @property
    def identity(self) -> str:
        parts = (self.kernel.__name__, self.architecture.capability, self.signature, self.constants, self.aligned)
        return repr((*parts, sorted(self.options.items())))

    @property
    def attributes(self) -> dict[tuple[int], list[list[Any]]]:
        """As triton.compiler.ASTSource wants them."""
        places = {name: i for i, name in enumerate(self.signature)}
        return {(places[name],): [["tt.divisibility", ALIGNMENT]] for name in self.aligned}


def variants(launches: Iterable[tuple[str, Architecture, Launch]]) -> list[Variant]:
    """The distinct variants among (call, architecture, launch), each under the first call that needs it."""
    found: dict[str, Variant] = {}
    for call, architecture, launched in launches:
        variant = specialise(call, architecture, launched)
        found.setdefault(variant.identity, variant)
    return list(found.values())


def specialise(call: str, architecture: Architecture, launched: Launch) -> Variant:
    """Raises TypeError for a launch with missing or unknown arguments, or one of a type that Triton does not take."""
    signature, constants, aligned = {}, {}, []
    parameters = launched.kernel.params
    unknown = set(launched.arguments) - {p.name for p in parameters}
    if unknown:
        raise TypeError(f"{launched.kernel.__name__} has no parameter {', '.join(sorted(unknown))}")
    for p in parameters:
        if p.name in launched.arguments:
            value = launched.arguments[p.name]
        elif p.has_default:
            value = p.default
        else:
            raise TypeError(f"{launched.kernel.__name__} was launched without {p.name}")
        if p.is_constexpr:
            kind, divisible = "constexpr", False
        else:
            kind, divisible = _type_of(value, special=not p.do_not_specialize)
            divisible = divisible and not p.do_not_specialize_on_alignment
        signature[p.name] = kind
        if kind == "constexpr":
            constants[p.name] = value
        elif divisible:
            aligned.append(p.name)
    integers = {n: v for n, v in launched.arguments.items() if type(v) is int}
    return Variant(
        call, launched.kernel, signature, constants, tuple(aligned), launched.options, architecture, integers
    )


def _type_of(value: Any, special: bool) -> tuple[str, bool]:
    """Triton's name of an argument's type, and whether it is a multiple of 16 and may be taken for one."""
    if value is None:
        return "constexpr", False
    if isinstance(value, torch.Tensor):
        start = value.storage_offset() * value.element_size()  # allocations themselves are aligned
        return f"*{TYPES[value.dtype]}", special and start % ALIGNMENT == 0
    if isinstance(value, TensorDescriptor):
        return f"tensordesc<{TYPES[value.base.dtype]}{list(value.block_shape)}>", False
    if isinstance(value, bool):
        return "u1", False
    if isinstance(value, int):
        if special and value == 1:
            return "constexpr", False
        kind = "i32" if -(2**31) <= value < 2**31 else "i64" if value < 2**63 else "u64"
        return kind, special and value % ALIGNMENT == 0
    if isinstance(value, float):
        return "fp32", False
    raise TypeError(f"a kernel cannot be launched with {type(value).__name__}")
