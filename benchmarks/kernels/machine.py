"""The machine and the software that a result was measured with, and the number of threads in use."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import gsskernels
from gsskernels import _dispatch

PACKAGES = (
    "torch", "triton", "numpy", "faiss-cpu", "scikit-learn", "scipy", "opencv-python-headless",
    "vector-quantize-pytorch", "flash-kmeans", "liger-kernel", "cut-cross-entropy", "threadpoolctl",
    "pytest-benchmark", "nvidia-ml-py",
)  # fmt: skip
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vbmi", "avx512_vnni", "avx512_bf16", "amx_bf16")


def describe(packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
    """Processor, memory, versions, commit and date."""
    cpu = _cpuinfo()
    flags = cpu.get("flags", "").split()
    return {
        "cpu": cpu.get("model name", platform.processor()),
        "cpu_family_model": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "cache": {"L2": _cache(2), "L3": _cache(3)},
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "gsskernels": {"version": gsskernels.__version__, "commit": _commit(), "isas": isas()},
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "load_average": list(os.getloadavg()),
    }


def describe_gpu() -> dict[str, Any]:
    """The current CUDA device."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "gpu": gpu.name,
        "capability": 10 * gpu.major + gpu.minor,
        "multiprocessors": gpu.multi_processor_count,
        "gpu_memory_gib": round(gpu.total_memory / 2**30, 1),
        "l2_bytes": gpu.L2_cache_size,
        "cuda": torch.version.cuda,
    }


def isas() -> list[str]:
    """Instruction sets of the native library that this processor runs, slowest first; empty without the library."""
    if _dispatch.why_missing("native") is not None:
        return []
    from gsskernels.native import library

    return library.available_isas()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(threads: int) -> None:
    """Sets the pools of torch (gsskernels follows it), faiss, OpenCV, and every BLAS and OpenMP runtime loaded so far.

    Libraries are not imported for this: call it again after importing one.
    """
    torch.set_num_threads(threads)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(threads)


def _cpuinfo() -> dict[str, str]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().split("\n\n")[0].splitlines() if file.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _cache(level: int) -> str | None:
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (folder / "level").read_text().strip() == str(level):
            return (folder / "size").read_text().strip()
    return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with a plus sign if files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        run = {"cwd": here, "capture_output": True, "text": True, "check": True}
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **run).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
