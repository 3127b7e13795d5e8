"""The machine and the software a result was measured with."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import gsskernels
from benchmarks.kernels import threads
from gsskernels import _dispatch

PACKAGES = (
    "torch", "numpy", "faiss-cpu", "scikit-learn", "scipy", "opencv-python-headless", "vector-quantize-pytorch",
    "threadpoolctl", "pytest-benchmark",
)  # fmt: skip
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vbmi", "avx512_vnni", "avx512_bf16", "amx_bf16")


def describe(packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
    cpu = _cpuinfo()
    flags = cpu.get("flags", "").split()
    return {
        "cpu": cpu.get("model name", platform.processor()),
        "cpu_family_model": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": threads.cores(),
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


def isas() -> list[str]:
    """Instruction sets of the native library that this processor runs, slowest first; empty without the library."""
    if _dispatch.why_missing("native") is not None:
        return []
    from gsskernels.native import library

    return library.available_isas()


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
