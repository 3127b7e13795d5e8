"""Clocks, power, temperature, throttling and energy of the GPU while something runs, and the kernels of a call.

NVML is read through nvidia-ml-py (`pynvml`) where it is installed and the driver answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

PERIOD = 0.02  # seconds between samples


class Telemetry:
    """NVML readings of the current GPU. `missing` is the reason why there are none, or None."""

    def __init__(self, device: str = "cuda") -> None:
        self.missing: str | None = None
        self.device: dict[str, Any] = {}
        if device != "cuda":
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
            self._handle = self._find(torch.cuda.current_device())
            self.device = {
                "name": _text(pynvml.nvmlDeviceGetName(self._handle)),
                "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
            }
        except pynvml.NVMLError as error:
            self.missing = f"NVML: {error}"
            return
        limits: dict[str, Callable[[], float]] = {
            "max_sm_mhz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(self._handle, pynvml.NVML_CLOCK_SM),
            "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1000,
        }
        self.device |= {name: value for name, read in limits.items() if (value := self._read(read)) is not None}

    @contextmanager
    def sampled(self) -> Iterator[dict[str, Any]]:
        """Fills the dictionary that it yields when the block ends; leaves it empty where NVML is missing."""
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

    def energy_per_call(self, launch: Callable[[], Any], calls: int, seconds: float = 0.4) -> float | None:
        """Joules of the GPU a call, where `launch` starts `calls` of them; None where the GPU does not count them.

        The launch is repeated, because the counter moves about ten times a second.
        """
        if self.missing is not None:
            return None
        torch.cuda.synchronize()
        before, repeats, end = self._millijoules(), 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            launch()
            torch.cuda.synchronize()
            repeats += 1
        after = self._millijoules()
        return None if before is None or after is None else (after - before) / 1000 / (repeats * calls)

    def _find(self, index: int) -> Any:
        """By UUID, because CUDA_VISIBLE_DEVICES renumbers CUDA's devices and not NVML's."""
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

    def _millijoules(self) -> int | None:
        return self._read(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def _sample(self, samples: list[dict[str, Any]], stop: threading.Event) -> None:
        nvml, handle = self._nvml, self._handle
        reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        reasons = reasons or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        readings: dict[str, Callable[[], Any]] = {
            "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "throttled_by": lambda: self._names(reasons(handle)),
        }
        while not stop.is_set():
            samples.append({name: self._read(read) for name, read in readings.items()})
            stop.wait(PERIOD)

    def _names(self, bits: int) -> list[str]:
        prefix = "nvmlClocksThrottleReason"
        known = {n.removeprefix(prefix): getattr(self._nvml, n) for n in dir(self._nvml) if n.startswith(prefix)}
        return [name for name, bit in known.items() if name not in ("All", "None", "GpuIdle") and bits & bit]


def kernels(call: Callable[[], Any], repeats: int = 5) -> list[dict[str, Any]] | str:
    """The kernels of a call on the GPU: name, how often a call, microseconds each; the longest first.

    A text says why the profiler cannot run, for example without the right to read the counters.
    """
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(repeats):
                call()
            torch.cuda.synchronize()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    events = sorted((e for e in profile.key_averages() if e.device_time_total > 0), key=lambda e: -e.device_time_total)
    return [{"name": e.key[:80], "count": e.count / repeats, "us": e.device_time_total / e.count} for e in events[:12]]


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
