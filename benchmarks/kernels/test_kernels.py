"""Times and extra peak memory of every operation by every provider that can do it, by pytest-benchmark.

    python -m pytest benchmarks/kernels --benchmark-quiet            # what `make bench` runs
    python -m benchmarks.kernels.report                              # what `make bench-report` runs

Cases are in cases.py, providers in providers_*.py, the order of the passes in schedule.py. A provider that cannot run
is skipped with the reason, which also goes into the result file. Memory is measured after all times.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.kernels import memory, threads
from benchmarks.kernels.cases import Case
from benchmarks.kernels.providers import Provider
from benchmarks.kernels.schedule import Task


def test_time(task: Task, run, benchmark: BenchmarkFixture) -> None:
    measurement = run.bench.prepare(task)
    if isinstance(measurement, str):
        pytest.skip(measurement)
    how_often = measurement.rounds(task, run.quick)
    if not how_often["rounds"]:
        pytest.skip("slow: it had its rounds in the first passes")
    benchmark.group = task.case.id
    with task.provider.active():
        benchmark.pedantic(measurement.call, **how_often)
    measurement.times += benchmark.stats.stats.data


def test_extra_peak_memory(held: tuple[Case, Provider], run, memory_server: memory.Server | None) -> None:
    case, provider = held
    if memory_server is None:
        pytest.skip("resident memory's high water mark can only be reset on Linux")
    if (reason := provider.why_not(case)) is not None:
        pytest.skip(reason)
    extra, error = memory_server.measure(case.id, provider.name, threads.cores())
    assert error is None, error
    run.peaks[case.id, provider.name] = extra
