"""Extra peak memory of a call on the CPU: the most that the process holds beyond its inputs and the result.

Each measurement has a process of its own, forked from one that has imported the libraries and run none of them. The
call is made once, freed memory is returned to the system, the high-water mark of resident memory is reset, and the call
is made again. Linux only; accurate to about a quarter of a megabyte. Buffers that a library keeps from call to call are
counted with the inputs, which flatters it.

`python -m benchmarks.kernels.memory` is the process that forks: one JSON request a line in, one JSON answer a line out.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.kernels.cases import Case

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PRELOAD = ("torch._inductor.compile_fx", "scipy.sparse", "sklearn.metrics", "faiss", "cv2")
ROOT = Path(__file__).resolve().parents[2]


def available() -> bool:
    return CLEAR.exists() and "VmHWM" in STATUS.read_text()


def extra_peak(call: Callable[[], Any], size_of: Callable[[Any], int]) -> int:
    """Bytes the process grew by at most during `call`, less the result's own; `call` should have run once before."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    before = _status("VmRSS")
    CLEAR.write_text("5")  # VmHWM := VmRSS
    result = call()
    return max(0, _status("VmHWM") - before - size_of(result))


class Server:
    """The process that forks. `measure` returns bytes and None, or None and the reason for a failure."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.kernels.memory"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def measure(self, case: Case, provider: str, cores: int) -> tuple[int | None, str | None]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"case": asdict(case), "provider": provider, "cores": cores}) + "\n")
        answer = json.loads(self._process.stdout.readline() or '{"error": "the measuring process died"}')
        return answer.get("bytes"), answer.get("error")

    def close(self) -> None:
        self._process.communicate()


def _status(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.kernels import inputs, machine, measure, providers

    case = Case(**request["case"])
    provider = measure.named(case.op, request["provider"])
    machine.use_threads(request["cores"])
    with provider.active():
        call = provider.build(inputs.make(case))
        call()
        return {"bytes": extra_peak(call, providers.size_of)}


def _in_a_child(request: dict[str, Any]) -> str:
    """The answer as JSON, from a fork of this process."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = _answer(request)
        except Exception:
            answer = {"error": traceback.format_exc(limit=-1).strip().splitlines()[-1]}
        os.write(writable, json.dumps(answer).encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        answer_line = pipe.read()
    _, status = os.waitpid(child, 0)
    return answer_line or json.dumps({"error": f"the measuring process ended with status {status}"})


def _serve() -> None:
    for name in PRELOAD:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    importlib.import_module("benchmarks.kernels.measure")
    for line in sys.stdin:
        print(_in_a_child(json.loads(line)), flush=True)


if __name__ == "__main__":
    _serve()
