"""Extra peak memory of a call on the CPU: the most that the process holds beyond its inputs and the result.

Each measurement has a process of its own, forked from a server that has imported the libraries and run none of them.
The call is made once, freed memory is returned to the system, the high-water mark of resident memory is reset, and the
call is made again. Linux only; accurate to about a quarter of a megabyte. Buffers that a library keeps from call to
call are counted with the inputs, which flatters it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.kernels.cases import Case

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PRELOAD = ("torch._inductor.compile_fx", "scipy.sparse", "sklearn.metrics", "faiss", "cv2")


def available() -> bool:
    return CLEAR.exists() and "VmHWM" in STATUS.read_text()


def extra_peak(call: Callable[[], Any], size_of: Callable[[Any], int]) -> int:
    """The most bytes that the process grows by during `call`, less those of the result; call it once before."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    before = _status("VmRSS")
    CLEAR.write_text("5")  # VmHWM := VmRSS
    result = call()
    return max(0, _status("VmHWM") - before - size_of(result))


def measure(case: Case, provider: str, threads: int) -> int:
    """Extra peak bytes of a provider at a case, in a process of its own. Raises the provider's own errors."""
    server = multiprocessing.get_context("forkserver")
    found = [name for name in PRELOAD if importlib.util.find_spec(name.partition(".")[0]) is not None]
    server.set_forkserver_preload([*found, "benchmarks.kernels.measure"])
    with ProcessPoolExecutor(1, mp_context=server) as pool:
        return pool.submit(_measure, case, provider, threads).result()


def _measure(case: Case, name: str, threads: int) -> int:
    from benchmarks.kernels import inputs, machine, providers
    from benchmarks.kernels.measure import named

    provider = named(case.op, name)
    machine.use_threads(threads)
    with provider.active():
        call = provider.build(inputs.make(case))
        call()
        return extra_peak(call, providers.size_of)


def _status(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024
