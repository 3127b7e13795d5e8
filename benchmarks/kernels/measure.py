"""One case at a time: build every provider, check its answer against the reference, time all in turns, measure memory.

The rows go to a JSON file after each case, so a run that is cut keeps what it had.
"""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels import codebook, inputs, labels, linear, machine, maskige, memory, providers, results, roofs
from benchmarks.kernels.cases import Case, work
from benchmarks.kernels.providers import OURS, REFERENCE, Provider, agreement, size_of
from benchmarks.kernels.telemetry import Telemetry, kernels
from benchmarks.kernels.timing import DeviceClock, HostClock, Timed

PROVIDERS = {**maskige.PROVIDERS, **labels.PROVIDERS, **codebook.PROVIDERS, **linear.PROVIDERS}
SECONDS = {"cpu": {"table": 0.4, "overhead": 0.2}, "cuda": {"table": 1.0, "overhead": 0.2}}
OTHER_SECONDS = 0.15  # of the other studies
GPU_SCRATCH = 48 * 2**30
LEAST_AGREEMENT = {True: 0.999, False: 0.95}  # of ours; of other libraries, which break ties and round otherwise
# after one of these every later CUDA call of the process fails too
STICKY = re.compile(r"illegal memory|misaligned|device-side assert|unspecified launch|illegal instruction", re.I)


class Wrong(AssertionError):
    """An answer that disagrees with the reference."""


@dataclass
class Outcome:
    """A provider at a case: its row and times, or the reason why there are none."""

    row: dict[str, Any] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    absent: str = ""
    failed: str = ""


@dataclass
class Built:
    calls: list[Callable[[], Any]]
    first_call_s: float  # includes compiling
    agreement: float | None


def taking_part(case: Case, device: str) -> list[Provider]:
    return [provider for provider in PROVIDERS[case.op] if provider.takes_part(case, device)]


def named(op: str, name: str) -> Provider:
    return next(provider for provider in PROVIDERS[op] if provider.name == name)


class Bench:
    """The measurements of one run and the file that they go to."""

    def __init__(self, device: str, path: Path, quick: bool = False, deadline: float = float("inf")) -> None:
        self.device, self.path, self.quick, self.deadline = device, path, quick, deadline
        self.started, self.longest = time.time(), 0.0
        self.clock: Any = DeviceClock() if device == "cuda" else HostClock()
        self.telemetry = Telemetry(device)
        self.machine = machine.describe() | (machine.describe_gpu() if device == "cuda" else {})
        self.rows: list[dict[str, Any]] = []
        self.absent: list[dict[str, str]] = []
        self.roofs: dict[int, dict[str, float]] = {}
        if device == "cuda":
            providers.scratch_limit = GPU_SCRATCH

    def late(self) -> bool:
        """Whether another case would probably end after the deadline."""
        return time.time() + self.longest / 2 > self.deadline

    def measure(self, case: Case, chosen: list[Provider]) -> dict[str, Outcome]:
        """Outcomes of the `chosen` providers by name; writes the file."""
        start = time.time()
        threads = case.threads or machine.cores() if self.device == "cpu" else 0
        limits = self._roofs(threads)
        outcomes = self._providers(case, chosen, threads, limits)
        for name, outcome in outcomes.items():
            if outcome.row:
                self.rows.append(outcome.row)
            else:
                reason = outcome.absent or f"failed: {outcome.failed}"
                self.absent.append({"op": case.op, "case": case.id, "provider": name, "reason": reason})
        self.longest = max(self.longest, time.time() - start)
        self.write()
        return outcomes

    def write(self) -> None:
        content = {
            "machine": self.machine,
            "seconds": round(time.time() - self.started),
            "quick": self.quick,
            "roofs": self.roofs.get(0) or {str(threads): found for threads, found in self.roofs.items()},
            "telemetry": {"missing": self.telemetry.missing} if self.telemetry.missing else self.telemetry.device,
            "absent": self.absent,
            "rows": self.rows,
        }
        results.write(self.path, content)

    def _roofs(self, threads: int) -> dict[str, float]:
        """Measured at the first case with so many threads."""
        if threads not in self.roofs:
            self.roofs[threads] = roofs.measure(self.clock, self.device, threads, 0.2 if self.quick else 0.5)
        return self.roofs[threads]

    def _providers(
        self, case: Case, chosen: list[Provider], threads: int, limits: dict[str, float]
    ) -> dict[str, Outcome]:
        torch.compiler.reset()
        if threads:
            machine.use_threads(threads)
        copies = self.clock.copies(work(case).bytes) if case.study == "table" else 1
        made = [inputs.make(case, self.device)]
        made += [inputs.clone(made[0]) for _ in range(copies - 1)]
        known = named(case.op, REFERENCE)
        expected = known.build(inputs.clone(made[0]))() if known.exact else None
        outcomes = {provider.name: Outcome() for provider in chosen}
        built: dict[str, Built] = {}
        ready: dict[str, Timed] = {}
        for provider in chosen:
            outcome = outcomes[provider.name]
            outcome.absent = provider.why_not(case) or ""
            if outcome.absent:
                continue
            try:
                with provider.active():
                    built[provider.name] = self._build(provider, made, expected, threads)
                    ready[provider.name] = self.clock.prepare(built[provider.name].calls)
                ready[provider.name].active = provider.active
            except Exception as error:  # a finding about this provider; the others go on
                outcome.failed = _reason(error)
                if STICKY.search(str(error)):
                    raise
        seconds = SECONDS[self.device].get(case.study, OTHER_SECONDS) / (4 if self.quick else 1)
        with self.telemetry.sampled() as meanwhile:
            self.clock.measure(list(ready.values()), seconds)
        for provider in chosen:
            if provider.name not in ready:
                continue
            timed, outcome = ready[provider.name], outcomes[provider.name]
            outcome.times = timed.times
            outcome.row = results.row(case, provider, timed, threads, limits, self.machine["packages"])
            outcome.row |= {"first_call_s": built[provider.name].first_call_s, "extra_peak_bytes": None}
            outcome.row["agreement"] = built[provider.name].agreement
            try:
                outcome.row["extra_peak_bytes"] = self._memory(case, provider, built[provider.name].calls[0])
            except Exception as error:
                outcome.failed = f"memory: {_reason(error)}"
        if self.device == "cuda":
            self._gpu_extras(case, chosen, outcomes, built, ready, meanwhile)
        ready.clear()
        built.clear()
        del made, expected
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()  # the memory of the graphs
        return outcomes

    def _build(self, provider: Provider, made: list[Any], expected: Any, threads: int) -> Built:
        """Raises Wrong for an answer that disagrees with the reference."""
        calls = [provider.build(one) for one in made]
        if threads:
            machine.use_threads(threads)  # building may have loaded another runtime
        start = time.perf_counter()
        result = calls[0]()
        if self.device == "cuda":
            torch.cuda.synchronize()
        first, agreed = time.perf_counter() - start, None
        if provider.exact and provider.role == "answer" and expected is not None:
            agreed = agreement(result, expected)
            if agreed < LEAST_AGREEMENT[provider.library == "gsskernels"]:
                raise Wrong(f"only {100 * agreed:.2f} % of the answer are the reference's")
        return Built(calls, first, agreed)

    def _memory(self, case: Case, provider: Provider, call: Callable[[], Any]) -> int | None:
        """Extra peak bytes, where they are worth a measurement: not for roofs, nor for the same code again."""
        if provider.role == "roof" or provider.isa is not None or case.study in ("overhead", "threads"):
            return None
        if self.device == "cuda":
            return self.clock.extra_peak(call, size_of)
        if not memory.available():
            return None
        return memory.measure(case, provider.name, machine.cores())

    def _gpu_extras(
        self,
        case: Case,
        chosen: list[Provider],
        outcomes: dict[str, Outcome],
        built: dict[str, Built],
        ready: dict[str, Timed],
        meanwhile: dict[str, Any],
    ) -> None:
        """Telemetry of the case; host time of a call; kernels of ours, and joules of ours and of the next best."""
        timed = [p for p in chosen if p.name in ready]
        for provider in timed:
            row = outcomes[provider.name].row
            row["telemetry"] = meanwhile
            if case.study == "overhead":
                row["host_s"] = self.clock.host_seconds(built[provider.name].calls[0])
        if case.study != "table":
            return
        answers = sorted((p for p in timed if p.role == "answer"), key=lambda p: statistics.median(ready[p.name].times))
        own = [p for p in answers if p.name == OURS["cuda"]]
        others = [p for p in answers if p.library != "gsskernels"]
        for provider in own:
            outcomes[provider.name].row["kernels"] = kernels(built[provider.name].calls[0])
        for provider in own + others[:1]:
            one = ready[provider.name]
            outcomes[provider.name].row["energy_j"] = self.telemetry.energy_per_call(one.launch, one.calls)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:300]}"
