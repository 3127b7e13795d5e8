"""Every operation by every provider that can do it, through pytest-benchmark. One group is one case.

    python -m pytest benchmarks/ --benchmark-only                         # the CPU, or the GPU where there is one
    python -m pytest benchmarks/ --benchmark-only --quick --ops decode    # part of it, quickly

The first test of a case measures all chosen providers of the case in turns, on the CPU by wall time and on a GPU by
CUDA events (timing.py). Each test then hands its own times to pytest-benchmark. A provider that cannot run is skipped
with the reason.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.kernels.cases import Case
from benchmarks.kernels.providers import Provider


class MeasuredTimes:
    """A clock for pytest-benchmark that only moves when `next_round` moves it, by the next measured time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def next_round(self, times: list[float]) -> Callable[[], None]:
        rounds = iter(times)

        def advance() -> None:
            self.now += next(rounds)

        return advance


CLOCK = MeasuredTimes()


@pytest.mark.benchmark(timer=CLOCK)
def test_kernels(case: Case, provider: Provider, run, benchmark: BenchmarkFixture) -> None:
    outcome = run.outcome(case, provider)
    if outcome.absent:
        pytest.skip(outcome.absent)
    assert not outcome.failed or provider.library != "gsskernels", outcome.failed
    if outcome.failed:
        pytest.skip(f"failed: {outcome.failed}")
    benchmark.group = case.id
    benchmark.extra_info.update(outcome.row)
    benchmark.pedantic(CLOCK.next_round(outcome.times), rounds=len(outcome.times))
