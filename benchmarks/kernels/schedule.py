"""In what order things are measured, and how often.

Providers of a case are interleaved: pass 1 of every provider, then pass 2 of every provider, and so on, so that a slow
minute of the machine hits all of them. Within a pass a provider repeats its call back to back: each library parks its
own thread pool between calls, and a pool that still spins would slow down its neighbour. Rounds are bounded by time;
calls of less than a millisecond are repeated within a round. All passes' rounds are pooled.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.kernels import inputs, registry, threads
from benchmarks.kernels.cases import Case
from benchmarks.kernels.providers import COMPILED, REFERENCE, Provider, agreement

PASSES = {"table": 3, "overhead": 3}
OTHER_PASSES = 2
SECONDS = {"table": 0.4, "overhead": 0.2}  # of rounds, a provider of a case
OTHER_SECONDS = 0.15
ROUND = 1e-3  # seconds a round should last at least
SLOW = 0.25  # calls longer than this get one round in each of the first two passes


@dataclass(frozen=True)
class Task:
    case: Case
    provider: Provider
    number: int  # of the pass, from 0
    passes: int

    @property
    def id(self) -> str:
        return f"{self.case.id}/{self.provider.name}/pass {self.number + 1}"


def plan(cases: list[Case], quick: bool) -> list[Task]:
    tasks = []
    for case in cases:
        passes = 2 if quick else PASSES.get(case.study, OTHER_PASSES)
        tasks += [
            Task(case, provider, number, passes) for number in range(passes) for provider in registry.taking_part(case)
        ]
    return tasks


@dataclass
class Measurement:
    case: Case
    provider: Provider
    call: Callable[[], Any]
    first_call_s: float  # includes compiling
    estimate_s: float
    agreement: float | None  # share of the answer that is the reference's; None for roofs and random draws
    times: list[float] = field(default_factory=list)

    def rounds(self, task: Task, quick: bool) -> dict[str, int]:
        """Arguments of pytest-benchmark's `pedantic`; no rounds where this pass is left out."""
        if self.estimate_s > SLOW:
            return {"rounds": int(task.number < 2), "iterations": 1, "warmup_rounds": 0}
        budget = SECONDS.get(task.case.study, OTHER_SECONDS) / task.passes / (4 if quick else 1)
        iterations = max(1, math.ceil(ROUND / self.estimate_s))
        rounds = min(100, max(1, int(budget / (self.estimate_s * iterations))))
        return {"rounds": rounds, "iterations": iterations, "warmup_rounds": 1}


class Workbench:
    """Holds what is built for the case at hand, and the finished measurements of all cases."""

    def __init__(self) -> None:
        self.case: Case | None = None
        self.finished: list[Measurement] = []
        self.absent: list[dict[str, str]] = []
        self._built: dict[str, Measurement | str] = {}
        self._inputs: Any = None
        self._expected: Any = None

    def prepare(self, task: Task) -> Measurement | str:
        """The provider, built and checked against the reference at its first task; or the reason why it is absent."""
        if task.case is not self.case:
            self._open(task.case)
        name = task.provider.name
        if name not in self._built:
            self._built[name] = found = self._build(task.provider)
            if isinstance(found, str):
                self.absent.append({"op": task.case.op, "case": task.case.id, "provider": name, "reason": found})
            else:
                self.finished.append(found)
        return self._built[name]

    def _open(self, case: Case) -> None:
        for measurement in self.finished:
            measurement.call = _closed  # lets go of the last case's tensors
        self._built, self._inputs, self._expected = {}, None, None
        gc.collect()
        torch._dynamo.reset()
        self.case = case
        threads.use(case.threads or threads.cores())
        self._inputs = inputs.make(case)
        reference = registry.named(case.op, REFERENCE)
        self._expected = reference.build(inputs.make(case))() if reference.exact else None

    def _build(self, provider: Provider) -> Measurement | str:
        case = self.case
        assert case is not None
        if (reason := provider.why_not(case)) is not None:
            return reason
        with provider.active():
            call = provider.build(self._inputs)
            threads.use(case.threads or threads.cores())  # building may have loaded another runtime
            start = time.perf_counter()
            result = call()
            first = time.perf_counter() - start
            checked = provider.exact and provider.role == "answer"
            agreed = agreement(result, self._expected) if checked else None
            del result
            estimate = min(_seconds(call) for _ in range(2 if first < 1 or COMPILED in provider.name else 1))
        return Measurement(case, provider, call, first, estimate, agreed)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _closed() -> None:
    raise RuntimeError("this case is closed")
