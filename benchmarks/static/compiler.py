"""Compiles variants and reads facts from their machine code, in a pool of processes; answers are kept in build/static.

Kernels must have been imported without TRITON_INTERPRET, or there is nothing to compile.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.static import sass
from benchmarks.static.variants import Variant

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build/static"
Facts = dict[str, Any]

_todo: Sequence[Variant] = ()  # what forked workers compile: kernels cannot be pickled, their numbers can


def compile_all(variants: Sequence[Variant], processes: int = 2) -> list[Facts]:
    """Facts of every variant, in order; {"error": why} for one that does not compile."""
    global _todo
    _todo = variants
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        return pool.map(_compile_one, range(len(variants)), chunksize=1)


def _compile_one(number: int) -> Facts:
    return facts(_todo[number])


def facts(variant: Variant) -> Facts:
    """Compiles `variant`, unless its facts are known from before, and reads the machine code."""
    source = source_of(variant)
    file = CACHE / f"{_key(variant, source)}.json"
    if file.exists():
        return json.loads(file.read_text())
    found = _read(compiled(variant, source))
    if "error" in found:
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(found))
    temporary.replace(file)
    return found


def source_of(variant: Variant) -> ASTSource:
    return ASTSource(variant.kernel, variant.signature, variant.constants, variant.attributes)


def compiled(variant: Variant, source: ASTSource) -> Any:
    """The result of triton.compile, or the exception that it raised."""
    target = GPUTarget("cuda", variant.architecture.capability, 32)
    try:
        return triton.compile(source, target=target, options=variant.options)
    except Exception as error:  # the compiler raises many kinds; each is a finding about this variant, not our failure
        return error


def _key(variant: Variant, source: ASTSource) -> str:
    readers = "".join(Path(m).read_text() for m in (__file__, sass.__file__))
    parts = (triton.__version__, source.hash(), variant.architecture, sorted(variant.options.items()), readers)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _read(kernel: Any) -> Facts:
    if isinstance(kernel, Exception):
        return {"error": reason(kernel)}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage, code = dump(file.name, "--dump-resource-usage"), dump(file.name, "-sass")
    try:
        return {"shared": kernel.metadata.shared, **resources(usage), **machine_code(sass.parse(code))}
    except ValueError as error:  # an instruction we do not know: a finding about this kernel as well
        return {"error": reason(error)}


def reason(error: Exception) -> str:
    """One line: the kind of error and its end, where the compiler says what it did not like."""
    words = " ".join(str(error).split())
    cause = f" ({' '.join(str(error.__cause__).split())[-200:]})" if error.__cause__ else ""
    return f"{type(error).__name__}: {words[-200:]}{cause}"


def dump(cubin: str, what: str) -> str:
    """The output of the cuobjdump that comes with Triton, which looks for nvdisasm on PATH."""
    tool = Path(triton.knobs.nvidia.cuobjdump.path)
    environment = {**os.environ, "PATH": f"{tool.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    return subprocess.run([tool, what, cubin], env=environment, check=True, capture_output=True, text=True).stdout


def resources(usage: str) -> Facts:
    """Registers and stack bytes a thread from `cuobjdump --dump-resource-usage`."""
    (found,) = re.findall(r"REG:(\d+) STACK:(\d+)", usage)
    return {"registers": int(found[0]), "stack": int(found[1])}


def machine_code(code: list[sass.Instruction]) -> Facts:
    """Instruction counts, spills, widths of global accesses and the loops."""
    return {
        "spills": sum(i.base in ("STL", "LDL") for i in code),
        "instructions": sum(sass.count(code).values()),
        "counts": sass.count(code),
        "tensor": sorted({i.base for i in code if i.kind == "tensor"}),
        "accesses": accesses(code),
        "loops": [{"depth": loop.depth, "counts": sass.count(loop.own)} for loop in sass.loops(code)],
    }


def accesses(code: list[sass.Instruction]) -> dict[str, int]:
    """Loads and stores of global memory by their width in bits; asynchronous copies count as loads."""
    found: dict[str, int] = {}
    for i in code:
        if i.base.startswith("UTMA"):
            name = "load tma" if "LDG" in i.base else "store tma"
        elif i.base in ("LDG", "LDGSTS", "STG"):
            width = re.search(r"\.(256|128|64|U16|S16|16|U8|S8|8)\b", i.opcode)
            name = f"{'store' if i.base == 'STG' else 'load'} {width[1].lstrip('US') if width else '32'}"
        else:
            continue
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))
