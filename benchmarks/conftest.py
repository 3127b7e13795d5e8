"""Options of a benchmark run, its parameters, and the short table that it prints as it goes.

A whole run writes benchmarks/results/kernels-cpu.json or kernels-gpu.json; a quick or partial one goes to runs/bench.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # plain `pytest` does not add the root
    sys.path.insert(0, str(ROOT))

from benchmarks.kernels import machine, measure, report  # noqa: E402
from benchmarks.kernels.cases import Case, cases  # noqa: E402
from benchmarks.kernels.providers import COMPILED, Provider  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gsskernels")
    group.addoption("--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU")
    group.addoption("--quick", action="store_true", help="fewer cases and rounds")
    group.addoption("--ops", default="", help="comma-separated words: operations whose name contains one of them")
    group.addoption("--budget", type=float, default=float("inf"), help="seconds; later cases are skipped")
    group.addoption("--results", type=Path, help="file for the rows")
    group.addoption("--warm", action="store_true", help="only compile into the caches on disk; -n 8 uses 8 processes")


class Run:
    """The cases of one run, and their outcomes as they are asked for."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        words = [word.strip() for word in option("--ops").split(",") if word.strip()]
        self.quick, self.warm, self.budget = option("--quick"), option("--warm"), option("--budget")
        self.device = option("--device") or ("cuda" if torch.cuda.is_available() else "cpu")
        self.cases = cases(self.device, self.quick, words, machine.cores())
        if not self.cases:
            raise pytest.UsageError(f"--ops: no operation has one of {', '.join(words)} in its name")
        file = f"kernels-{'gpu' if self.device == 'cuda' else 'cpu'}.json"
        folder = "runs/bench" if self.quick or words or self.budget < float("inf") else "benchmarks/results"
        self.path = option("--results") or ROOT / folder / file
        self.chosen: dict[str, list[Provider]] = {}  # by case, after pytest's own selection
        self.print: Any = print
        self._bench: measure.Bench | None = None
        self._case: tuple[str, dict[str, measure.Outcome]] = ("", {})

    @property
    def bench(self) -> measure.Bench:
        if self._bench is None:
            self._bench = measure.Bench(self.device, self.path, self.quick, time.time() + self.budget)
        return self._bench

    def outcome(self, case: Case, provider: Provider) -> measure.Outcome:
        """Measures the case at its first provider."""
        if self.warm:
            return self._warmed(case, provider)
        if self._case[0] != case.id:
            if self.bench.late():
                return measure.Outcome(absent=f"the budget of {self.budget:g} s is used up")
            broken = measure.Outcome(failed="the measurement of this case failed, see its first provider")
            self._case = case.id, {chosen.name: broken for chosen in self.chosen[case.id]}
            self._case = case.id, self.bench.measure(case, self.chosen[case.id])
            self.print(report.short(case.id, self._case[1]))
        return self._case[1][provider.name]

    def close(self) -> None:
        if self._bench is not None:
            self.print(f"\n{len(self._bench.rows)} rows in {self.path}")

    def _warmed(self, case: Case, provider: Provider) -> measure.Outcome:
        if provider.name.startswith((COMPILED, "gsskernels triton")) and provider.why_not(case) is None:
            provider.build(measure.inputs.make(case, self.device))()
        return measure.Outcome(absent="--warm measures nothing")


RUN = pytest.StashKey[Run]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUN] = Run(config)
    if config.stash[RUN].device == "cpu":
        # a fresh cache, so that first calls include compiling; the processes that measure memory share it
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="gsskernels-bench-")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "provider" in metafunc.fixturenames:
        run = metafunc.config.stash[RUN]
        pairs = [(case, p) for case in run.cases for p in measure.taking_part(case, run.device)]
        metafunc.parametrize("case, provider", pairs, ids=[f"{case.id}/{p.name}" for case, p in pairs])


def pytest_collection_finish(session: pytest.Session) -> None:
    run = session.config.stash[RUN]
    for item in session.items:
        if "provider" in getattr(item, "fixturenames", ()):
            case, provider = item.callspec.params["case"], item.callspec.params["provider"]
            run.chosen.setdefault(case.id, []).append(provider)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    changing = ("date", "load_average", "gsskernels")  # these would make every comparison warn of another machine
    found = config.stash[RUN].bench.machine
    machine_info["gsskernels"] = {name: value for name, value in found.items() if name not in changing}


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Iterator[Run]:
    found = pytestconfig.stash[RUN]
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", flush=True)

    found.print = show
    if any(p.name.startswith(COMPILED) for chosen in found.chosen.values() for p in chosen):
        torch.compile(lambda x: x + 1)(torch.zeros(64))  # loads the compiler, whose start is no case's compile time
    yield found
    found.close()
