"""Options of a benchmark run, what its tests share, and the file it writes.

make bench                              # full: benchmarks/results/kernels-cpu.json
make bench QUICK=1 OPS=decode,encode    # partial runs go to runs/bench/kernels-cpu.json
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import gsskernels
from benchmarks.kernels import cases, machine, memory, providers, registry, results, roofs, schedule, threads

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gsskernels")
    group.addoption("--quick", action="store_true", help="fewer shapes and rounds")
    group.addoption("--ops", default="", help="comma-separated words; only operations whose name has one of them")
    group.addoption("--results", type=Path, default=None, help="where the rows go")


class Run:
    """One run: its cases, its workbench, its roofs."""

    def __init__(self, config: pytest.Config) -> None:
        self.quick = config.getoption("--quick")
        words = [word.strip() for word in config.getoption("--ops").split(",") if word.strip()]
        self.cases = cases.cases(self.quick, words, threads.cores())
        if not self.cases:
            raise pytest.UsageError(f"no operation has one of {', '.join(words)} in its name")
        partial = self.quick or bool(words)
        default = "runs/bench/kernels-cpu.json" if partial else "benchmarks/results/kernels-cpu.json"
        self.path = config.getoption("--results") or ROOT / default
        self.bench = schedule.Workbench()
        self.peaks: dict[tuple[str, str], int | None] = {}
        self.summary = ""
        self._roofs: dict[str, dict[str, float]] = {}

    def start(self) -> None:
        self.machine = machine.describe()
        self.started = time.time()
        self._roofs = self._measure_roofs()

    def _measure_roofs(self) -> dict[str, dict[str, float]]:
        counts = {case.threads or threads.cores() for case in self.cases}
        return {str(n): roofs.measure(n, 0.2 if self.quick else 0.5) for n in sorted(counts)}

    def write(self) -> None:
        again = self._measure_roofs()
        best = {n: roofs.highest(self._roofs[n], again[n]) for n in again}
        rows = [
            results.row(
                m, best, self.machine["packages"], gsskernels.__version__, self.peaks.get((m.case.id, m.provider.name))
            )
            for m in self.bench.finished
            if m.times
        ]
        content = {
            "machine": self.machine,
            "seconds": round(time.time() - self.started),
            "quick": self.quick,
            "roofs": best,
            "rows": rows,
            "absent": self.bench.absent,
        }
        results.write(self.path, content)
        self.summary = f"{len(rows)} rows, {content['seconds']} s, in {self.path}"


RUN = pytest.StashKey[Run]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUN] = Run(config)
    # A fresh cache, so that compile times are those of a first compilation; the measuring processes share it.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="gsskernels-bench-")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    run = metafunc.config.stash[RUN]
    if "task" in metafunc.fixturenames:
        tasks = schedule.plan(run.cases, run.quick)
        metafunc.parametrize("task", tasks, ids=[task.id for task in tasks])
    if "held" in metafunc.fixturenames:
        pairs = [(c, p) for c in run.cases for p in registry.taking_part(c) if _memory_counts(c, p)]
        metafunc.parametrize("held", pairs, ids=[f"{c.id}/{p.name}" for c, p in pairs])


def _memory_counts(case: cases.Case, provider: providers.Provider) -> bool:
    """Where extra memory is worth a process: not for roofs, nor for what is the same code again."""
    return case.study not in ("overhead", "threads") and provider.role == "answer" and provider.isa is None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = config.stash[RUN]
    if run.summary:
        terminalreporter.section("kernels")
        terminalreporter.write_line(run.summary)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Iterator[Run]:
    torch.compile(lambda x: x + 1)(torch.zeros(64))  # loads the compiler, which is no shape's compile time
    found = pytestconfig.stash[RUN]
    found.start()
    yield found
    found.write()


@pytest.fixture(scope="session")
def memory_server() -> Iterator[memory.Server | None]:
    if not memory.available():
        yield None
        return
    server = memory.Server()
    yield server
    server.close()
