"""Every operation against what else can do it: one case at a time, its providers in turn.

build for several copies of the inputs -> compare with the reference -> capture -> rounds of replays -> memory,
and for what is promised the kernels a call runs and the energy it takes
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

import gsskernels
from benchmarks.gpu import cases as gpu_cases
from benchmarks.gpu import roofs, timing
from benchmarks.gpu.checks import Check
from benchmarks.gpu.place import STICKY, Place
from benchmarks.gpu.providers import reference, taking_part
from benchmarks.gpu.telemetry import Telemetry, energy_per_call
from benchmarks.kernels import inputs, results, threads
from benchmarks.kernels import providers as shared
from benchmarks.kernels.cases import Case, work
from benchmarks.kernels.providers import COMPILED, TRITON, Provider, agreement, size_of
from benchmarks.kernels.schedule import Measurement

SECONDS = {"table": 1.0, "overhead": 0.2}  # of rounds, a case
SCRATCH = 48 * 2**30


def checks(place: Place) -> Iterator[Check]:
    """Warming up, in several processes: whatever compiles does so once, and its result goes to the caches on disk."""
    for case in gpu_cases.cases(place, []):
        for provider in taking_part(case, place):
            if provider.name.startswith((COMPILED, TRITON)):
                yield Check(case.id, provider.name, partial(_once, place, case, provider))


def _once(place: Place, case: Case, provider: Provider) -> None:
    shared.scratch_limit = SCRATCH
    if provider.why_not(case) is None:
        provider.build(inputs.on(made_for(case), place.device))()
        place.synchronize()


def made_for(case: Case) -> SimpleNamespace:
    """Inputs on the host; a palette in float32, as the modules of gss keep it."""
    made = inputs.make(case)
    if "classes" in case.sizes:
        made.palette = made.palette.float()
    return made


class Bench:
    """The rows of a run, as they come."""

    def __init__(self, place: Place, telemetry: Telemetry, packages: dict[str, Any]) -> None:
        self.place, self.telemetry, self.packages = place, telemetry, packages
        self.rows: list[dict[str, Any]] = []
        self.absent: list[dict[str, str]] = []
        self.roofs: dict[str, float] = {}
        self.roofs_telemetry: dict[str, Any] = {}

    def run(self, found: list[Case], deadline: float, finished: Callable[[], None]) -> int:
        """Measures cases until the deadline, calls `finished` after each; returns how many were not reached."""
        shared.scratch_limit = SCRATCH
        with self.telemetry.sampled() as self.roofs_telemetry:
            self.roofs = roofs.measure(self.place)
        finished()
        longest = 0.0
        for number, case in enumerate(found):
            start = time.time()
            if start + longest / 2 > deadline:
                return len(found) - number
            try:
                self._case(case)
            except Exception as error:
                if STICKY.search(str(error)):
                    raise
                self.absent.append({"op": case.op, "case": case.id, "provider": "everyone", "reason": _failure(error)})
            longest = max(longest, time.time() - start)
            finished()
        return 0

    def _case(self, case: Case) -> None:
        torch.compiler.reset()
        on_host = made_for(case)
        copies = timing.copies_needed(self.place, work(case).bytes) if case.study == "table" else 1
        made = [inputs.on(on_host, self.place.device) for _ in range(copies)]
        known = reference(case)
        expected = known.build(made[0])() if known.exact else None
        variants: dict[Provider, timing.Variant] = {}
        measured: dict[Provider, Measurement] = {}
        peaks: dict[Provider, int | None] = {}
        for provider in taking_part(case, self.place):
            if (reason := provider.why_not(case)) is not None:
                self._absent(case, provider, reason)
                continue
            try:
                calls = [provider.build(one) for one in made]
                measured[provider] = self._first(case, provider, calls[0], expected)
                peaks[provider] = timing.extra_peak(self.place, calls[0], size_of)
                variants[provider] = timing.prepare(self.place, calls)
            except Exception as error:
                measured.pop(provider, None)
                self._absent(case, provider, _failure(error))
                if STICKY.search(str(error)):
                    raise
        with self.telemetry.sampled() as meanwhile:
            timing.measure(self.place, list(variants.values()), 0.02 if self.place.dry else SECONDS[case.study])
        for provider, variant in variants.items():
            measured[provider].times[:] = variant.times
            row = self._row(measured[provider], variant, peaks[provider])
            row["telemetry"] = meanwhile
            if case.study == "overhead":
                row["host_s"] = timing.host_seconds(self.place, measured[provider].call, 3 if self.place.dry else 200)
            self.rows.append(row)
        self._more(case, variants, measured)
        for measurement in measured.values():
            measurement.call = _closed  # lets go of the case's tensors
        variants.clear()
        gc.collect()
        if self.place.device.type == "cuda":
            torch.cuda.empty_cache()  # the graphs' memory

    def _first(self, case: Case, provider: Provider, call: Callable[[], Any], expected: Any) -> Measurement:
        self.place.synchronize()
        start = time.perf_counter()
        result = call()
        self.place.synchronize()
        first = time.perf_counter() - start
        compared = provider.exact and provider.role == "answer" and expected is not None
        return Measurement(case, provider, call, first, 0.0, agreement(result, expected) if compared else None)

    def _row(self, measurement: Measurement, variant: timing.Variant, peak: int | None) -> dict[str, Any]:
        known = {str(threads.cores()): self.roofs}
        row = results.row(measurement, known, self.packages, gsskernels.__version__, peak)
        row |= {"threads": 0, "timing": variant.how, "launches": variant.launches}
        return row | ({"note": variant.note} if variant.note else {})

    def _more(
        self, case: Case, variants: dict[Provider, timing.Variant], measured: dict[Provider, Measurement]
    ) -> None:
        """For what is promised: kernels of our call, and joules a call of ours and of the quickest other answer."""
        if case not in gpu_cases.PROMISED.values() and not self.place.dry:
            return
        answers = sorted((p for p in variants if p.role == "answer"), key=lambda p: _median(variants[p]))
        ours = next((p for p in answers if p.name == TRITON), None)
        other = next((p for p in answers if not p.name.startswith(TRITON)), None)
        rows = {r["provider"]: r for r in self.rows if (r["op"], r["case"], r["study"]) == _key(case)}
        if ours is not None:
            rows[ours.name]["kernels"] = timing.kernels(self.place, measured[ours].call)
        for provider in (ours, other):
            if provider is not None:
                variant = variants[provider]
                rows[provider.name]["energy_j"] = energy_per_call(
                    self.telemetry, variant.replay, self.place.synchronize, variant.launches
                )

    def _absent(self, case: Case, provider: Provider, reason: str) -> None:
        self.absent.append({"op": case.op, "case": case.id, "provider": provider.name, "reason": reason})


def _key(case: Case) -> tuple[str, str, str]:
    return case.op, case.label, case.study


def _median(variant: timing.Variant) -> float:
    return statistics.median(variant.times)


def _failure(error: Exception) -> str:
    return f"failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')[:300]}"


def _closed() -> None:
    raise RuntimeError("this case is closed")
