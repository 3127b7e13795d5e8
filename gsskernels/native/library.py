"""Loads the native library and binds its functions for the fastest instruction set of this processor.

Environment:
    GSSKERNELS_LIBRARY  another libgsskernels.so, such as one built with sanitizers.
    GSSKERNELS_ISA      baseline, avx2, avx512 or avx512bf16 instead of the best one.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import torch

from gsskernels.native.signatures import SIGNATURES

ABI_VERSION = 1
ISAS = ("baseline", "avx2", "avx512", "avx512bf16")
DTYPES = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.bfloat16: 6,
    torch.float32: 7,
    torch.float64: 8,
}

functions = SimpleNamespace()  # name -> the C function of the bound instruction set; ctypes releases the GIL around it

_HOW_TO_BUILD = (
    "install a C++17 compiler (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select "
    "--install) and install this package again from its source: pip install --force-reinstall --no-deps ."
)


def _open() -> ctypes.CDLL:
    named = os.environ.get("GSSKERNELS_LIBRARY")
    path = Path(named) if named else Path(__file__).with_name("libgsskernels.so")
    if not path.exists():
        reason = path.with_name("build_failure.txt")
        why = f"building it failed: {reason.read_text().strip()}" if reason.exists() else f"there is no {path.name}"
        raise ImportError(f"the native library is missing, {why}\n{_HOW_TO_BUILD}")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"{path.name} does not load: {error}\n{_HOW_TO_BUILD}") from error
    library.gss_best_isa.restype = ctypes.c_char_p
    if library.gss_abi_version() != ABI_VERSION:
        raise ImportError(f"{path.name} belongs to another version of gsskernels\n{_HOW_TO_BUILD}")
    return library


_library = _open()


def available_isas() -> list[str]:
    """The instruction sets that the library has and this processor runs, slowest first."""
    return [isa for isa in ISAS if _library.gss_runs_isa(isa.encode())]


def bind(isa: str) -> None:
    """Uses the functions of one instruction set from now on. Raises ValueError if it cannot run here."""
    if isa not in available_isas():
        raise ValueError(f"GSSKERNELS_ISA must be one of {', '.join(available_isas())}, got {isa!r}")
    for name, argtypes in SIGNATURES.items():
        function = getattr(_library, f"gss_{isa}_{name}")
        function.argtypes, function.restype = argtypes, ctypes.c_int64
        setattr(functions, name, function)
    functions.isa = isa


@contextmanager
def forced_isa(isa: str) -> Iterator[None]:
    """Uses another instruction set inside a with block, for tests and benchmarks. It applies to all threads."""
    before = functions.isa
    bind(isa)
    try:
        yield
    finally:
        bind(before)


def check(status: int) -> None:
    """Raises the error that a status of the library stands for."""
    if status == 0:
        return
    if status == -1:
        raise MemoryError("the native library could not allocate its scratch memory")
    raise RuntimeError(f"the native library refused its arguments (status {status})")


try:
    bind(os.environ.get("GSSKERNELS_ISA") or _library.gss_best_isa().decode())
except (ValueError, AttributeError) as error:
    raise ImportError(f"the native library cannot be bound: {error}") from error
