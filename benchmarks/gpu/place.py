"""Where a run happens: on a GPU; in a dry run on the CPU, with the interpreter or the reference in place of kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.kernels import machine
from gsskernels import _dispatch

# After one of these every later call of the process fails too.
STICKY = re.compile(
    r"illegal memory|misaligned|device-side assert|unspecified launch|illegal instruction", re.IGNORECASE
)


@dataclass(frozen=True)
class Place:
    device: torch.device
    backend: str  # of gsskernels: "triton", or "reference" where a dry run has no interpreter
    dry: bool

    @property
    def interpreted(self) -> bool:
        return self.dry and self.backend == "triton"

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free_bytes(self) -> int:
        return torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 0

    def generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)


class NoGpu(RuntimeError):
    """Nothing to check on here."""


def find(dry: bool, backend: str | None = None) -> Place:
    """The current GPU with the Triton backend; in a dry run the CPU. Raises NoGpu with the reason."""
    if dry:
        return Place(torch.device("cpu"), backend or ("triton" if _interpreter() else "reference"), True)
    if not torch.cuda.is_available():
        raise NoGpu("no CUDA GPU is available to torch; --dry-run goes through every phase on the CPU")
    if (reason := _dispatch.why_missing("triton")) is not None:
        raise NoGpu(reason)
    if _interpreter():
        raise NoGpu("TRITON_INTERPRET is set: kernels would not run on the GPU")
    return Place(torch.device("cuda", torch.cuda.current_device()), backend or "triton", False)


def _interpreter() -> bool:
    return _dispatch.why_missing("triton") is None and bool(_dispatch._modules["triton"].INTERPRETED)


def describe(place: Place) -> dict[str, Any]:
    """The machine as `benchmarks.kernels` describes it, and the GPU."""
    found = {**machine.describe(PACKAGES), "dry_run": place.dry, "backend": place.backend}
    if place.device.type != "cuda":
        return found
    gpu = torch.cuda.get_device_properties(place.device)
    return found | {
        "gpu": gpu.name,
        "capability": 10 * gpu.major + gpu.minor,
        "multiprocessors": gpu.multi_processor_count,
        "gpu_memory_gib": round(gpu.total_memory / 2**30, 1),
        "l2_bytes": gpu.L2_cache_size,
        "shared_memory_bytes": gpu.shared_memory_per_block_optin,
        "gpus": torch.cuda.device_count(),
        "cuda": torch.version.cuda,
    }


PACKAGES = (
    "torch", "triton", "numpy", "flash-kmeans", "liger-kernel", "cut-cross-entropy", "quack-kernels",
    "vector-quantize-pytorch", "nvidia-ml-py",
)  # fmt: skip
