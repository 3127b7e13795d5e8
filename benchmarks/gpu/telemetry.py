"""What the GPU did meanwhile: clocks, power, temperature and reasons for throttling, sampled in a thread; energy.

Through nvidia-ml-py (`pynvml`) where it is installed and the driver answers; else the reason why not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PERIOD = 0.02  # seconds between samples


class Telemetry:
    """`missing` says why there is none, or is None."""

    def __init__(self, index: int | None) -> None:
        self.missing: str | None = None
        if index is None:
            self.missing = "there is no GPU"
            return
        try:
            import pynvml
        except ImportError:
            self.missing = "nvidia-ml-py is not installed"
            return
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._handle = self._find(index)
            self.device = {
                "name": _text(pynvml.nvmlDeviceGetName(self._handle)),
                "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
            }
        except pynvml.NVMLError as error:
            self.missing = f"NVML: {error}"
            return
        limits: dict[str, Callable[[], float]] = {
            "max_sm_mhz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(self._handle, pynvml.NVML_CLOCK_SM),
            "max_memory_mhz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(self._handle, pynvml.NVML_CLOCK_MEM),
            "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1000,
        }
        self.device |= {name: value for name, read in limits.items() if (value := self._read(read)) is not None}

    def _find(self, index: int) -> Any:
        """By UUID: CUDA_VISIBLE_DEVICES renumbers CUDA's devices and not NVML's."""
        import torch

        wanted = str(torch.cuda.get_device_properties(index).uuid)
        for i in range(self._nvml.nvmlDeviceGetCount()):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(i)
            if wanted in _text(self._nvml.nvmlDeviceGetUUID(handle)):
                return handle
        return self._nvml.nvmlDeviceGetHandleByIndex(index)

    def _read(self, read: Callable[[], Any]) -> Any:
        """A reading, or None where this GPU or a virtual machine does not offer it."""
        try:
            return read()
        except self._nvml.NVMLError:
            return None

    @contextmanager
    def sampled(self) -> Iterator[dict[str, Any]]:
        """Fills the dictionary it yields when the block ends."""
        found: dict[str, Any] = {}
        if self.missing is not None:
            yield found
            return
        samples: list[dict[str, Any]] = []
        stop = threading.Event()
        thread = threading.Thread(target=self._sample, args=(samples, stop), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join()
            found.update(_summary(samples))

    def _sample(self, samples: list[dict[str, Any]], stop: threading.Event) -> None:
        nvml, handle = self._nvml, self._handle
        reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        reasons = reasons or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        while not stop.is_set():
            samples.append(
                {
                    "sm_mhz": self._read(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
                    "memory_mhz": self._read(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
                    "power_w": self._read(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
                    "temperature_c": self._read(
                        lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
                    ),
                    "throttled_by": self._read(lambda: self._names(reasons(handle))),
                }
            )
            stop.wait(PERIOD)

    def _names(self, bits: int) -> list[str]:
        prefix = "nvmlClocksThrottleReason"
        known = {n.removeprefix(prefix): getattr(self._nvml, n) for n in dir(self._nvml) if n.startswith(prefix)}
        return [name for name, bit in known.items() if name not in ("All", "None", "GpuIdle") and bits & bit]

    def energy_mj(self) -> int | None:
        """Millijoules since the driver was loaded, or None where the GPU does not count them."""
        if self.missing is not None:
            return None
        return self._read(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


def energy_per_call(telemetry: Telemetry, replay: Callable[[], Any], synchronize: Callable[[], None], calls: int,
                    seconds: float = 0.4) -> float | None:  # fmt: skip
    """Joules a call: `replay` starts `calls`, repeated because the counter moves some ten times a second."""
    synchronize()
    before, repeats, end = telemetry.energy_mj(), 0, time.perf_counter() + seconds
    if before is None:
        return None
    while time.perf_counter() < end:
        replay()
        synchronize()
        repeats += 1
    after = telemetry.energy_mj()
    return None if after is None else (after - before) / 1000 / (repeats * calls)


def _summary(samples: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"samples": len(samples)}
    for name in ("sm_mhz", "memory_mhz", "power_w", "temperature_c"):
        values = sorted(s[name] for s in samples if s[name] is not None)
        if values:
            found[name] = {"least": values[0], "median": values[len(values) // 2], "most": values[-1]}
    found["throttled_by"] = sorted({reason for s in samples for reason in s["throttled_by"] or []})
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
