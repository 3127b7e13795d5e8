"""The benchmarks run: tiny cases on the CPU, the clock of a GPU on a stand-in, a report, and one compiled kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.kernels import cases, measure, report, results
from benchmarks.kernels.timing import DeviceClock

ROOT = Path(__file__).parents[2]
TINY = [
    cases.encode(5, 7, 19, "float32"),
    cases.decode(6, 5, 19, "uint8"),
    cases.label_resize(6, 5, 9, 4, 19),
    cases.evaluate(6, 5, 9, 4, 19),
    cases.confusion(6, 5, 19),
    cases.codebook("nearest_code", 9, 12, 8),
    cases.codebook("linear_argmax", 9, 12, 8),
    cases.codebook("linear_sample", 9, 12, 8),
    cases.codebook("linear_cross_entropy", 9, 12, 8, backward=True),
    cases.codebook("code_statistics", 9, 12, 8),
]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> measure.Bench:
    """Fast roofs and rounds, and no process for memory."""
    roofs = {"copy_gb_per_s": 1.0, "mm_float32_gflop_per_s": 1.0, "mm_bfloat16_gflop_per_s": 1.0}
    monkeypatch.setattr(measure.roofs, "measure", lambda *_: roofs)
    monkeypatch.setattr(measure.memory, "available", lambda: False)
    monkeypatch.setitem(measure.SECONDS["cpu"], "table", 0.001)
    return measure.Bench("cpu", tmp_path / "kernels-cpu.json")


def test_every_provider_that_is_here_answers_like_the_reference(bench: measure.Bench) -> None:
    for case in TINY:
        chosen = [p for p in measure.taking_part(case, "cpu") if not p.name.startswith("torch.compile")]
        outcomes = bench.measure(case, chosen)
        assert [f"{name}: {o.failed}" for name, o in outcomes.items() if o.failed] == []
        assert outcomes["gsskernels reference"].times
        assert all(outcome.times or outcome.absent for outcome in outcomes.values())
    assert {row["op"] for row in results.read(bench.path)["rows"]} == {case.op for case in TINY}


def test_a_wrong_answer_fails(bench: measure.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases.confusion(6, 5, 19)
    monkeypatch.setattr(measure.labels.official, "confusion", lambda p, t, k, ignore: p.new_zeros(k, k))
    outcome = bench.measure(case, [measure.named(case.op, "eager PyTorch, bincount")])["eager PyTorch, bincount"]
    assert outcome.failed.startswith("Wrong: only") and not outcome.times


def test_the_report_is_rendered(bench: measure.Bench, tmp_path: Path) -> None:
    for case in (TINY[0], cases.encode(2, 2, 19, "float32", study="overhead")):
        chosen = [p for p in measure.taking_part(case, "cpu") if p.name != "torch.compile"]
        assert "official formula" in report.short(case.id, bench.measure(case, chosen)) or case.study != "table"
    page = tmp_path / "page.md"
    page.write_text("a\n" + "".join(f"<!-- {n} -->\nold\n<!-- /{n} -->\n" for n in report.CPU_SECTIONS) + "b\n")
    report.main([str(bench.path), "--page", str(page), "--no-plots"])
    text = page.read_text()
    assert text.startswith("a\n") and text.endswith("b\n") and "old" not in text
    assert "**maskige_encode**, 5x7, K = 19, to float32" in text and "| official formula |" in text
    with pytest.raises(ValueError, match="<!-- tables -->"):
        report.replaced("no markers", "tables", "text")


def test_the_checked_in_results_of_both_devices_are_rendered(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text((ROOT / "docs/performance.md").read_text())
    report.main(["--page", str(page), "--no-plots"])
    assert page.read_text() == (ROOT / "docs/performance.md").read_text()


def test_pytest_benchmark_gets_the_measured_times(tmp_path: Path) -> None:
    file = tmp_path / "benchmark.json"
    command = [sys.executable, "-m", "pytest", "benchmarks/", "--benchmark-only", "--device", "cpu", "--quick", "-q"]
    command += ["--ops", "confusion", "-k", "overhead", "--results", str(tmp_path / "rows.json")]
    # pytest-benchmark does not time in a worker of pytest-xdist, and tells one by the environment
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run([*command, f"--benchmark-json={file}"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())["benchmarks"]
    assert {b["group"] for b in found} == {"confusion_matrix/overhead/2x2, K = 19"}
    rows = {row["provider"]: row for row in results.read(tmp_path / "rows.json")["rows"]}
    assert len(found) == len(rows) >= 3
    for b in found:
        row = rows[b["extra_info"]["provider"]]
        assert b["stats"]["rounds"] == row["rounds"]
        assert b["stats"]["median"] == pytest.approx(row["median_s"], rel=1e-3)


# --- The clock of a GPU, on a stand-in for torch.cuda ---------------------------------------------------------------


class Cuda:
    """A device whose time passes by `seconds` a call. It records which calls a graph captured."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.spun, self.capturing = seconds, 0.0, 0, False
        outer = self

        class Graph:
            def __init__(self) -> None:
                self.calls = 0
                outer.last = self

            def replay(self) -> None:
                outer.now += self.calls * outer.seconds

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                self.at = outer.now

            def elapsed_time(self, later: Any) -> float:
                return 1e3 * (later.at - self.at)

        self.CUDAGraph, self.Event = Graph, Event
        self.Stream = self.current_stream = lambda: SimpleNamespace(wait_stream=lambda other: None)
        self.stream = lambda stream: nullcontext()

    def graph(self, graph: Any, stream: Any) -> Any:
        self.last = graph
        outer = self

        class Capture:
            def __enter__(self) -> None:
                outer.capturing = True

            def __exit__(self, *_: Any) -> None:
                outer.capturing = False

        return Capture()

    def call(self) -> int:
        if self.capturing:
            self.last.calls += 1
        else:
            self.now += self.seconds
        return 0

    def _sleep(self, cycles: int) -> None:
        self.spun += 1
        self.now += 1e-4  # not part of any measured time

    def synchronize(self) -> None:
        pass

    def set_sync_debug_mode(self, mode: str) -> None:
        self.mode = mode

    def current_device(self) -> int:
        return 0

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(L2_cache_size=60 * 2**20)


def test_device_times_come_from_events_around_a_graph() -> None:
    cuda = Cuda(seconds=7e-6)
    clock = DeviceClock(cuda)
    assert clock.copies(100 * 2**20) == 2 and clock.copies(10 * 2**20) == 18
    timed = clock.prepare([cuda.call, cuda.call])
    assert timed.how == "graph" and timed.calls == cuda.last.calls and timed.calls % 2 == 0
    clock.measure([timed], seconds=0)
    assert timed.times == pytest.approx([7e-6] * 2)  # of three rounds, the first wakes the clocks up
    assert cuda.spun == 3 and cuda.mode == "default"


def test_calls_that_wait_for_the_device_are_launched_one_by_one() -> None:
    cuda = Cuda(seconds=3e-3)

    def waits() -> int:
        if cuda.__dict__.get("mode") == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return cuda.call()

    timed = DeviceClock(cuda).prepare([waits, waits])
    assert (timed.how, timed.note) == ("stream", "it waits for the device")
    DeviceClock(cuda).measure([timed], seconds=0)
    assert timed.times == pytest.approx([3e-3] * 2)


# --- The compile check ----------------------------------------------------------------------------------------------


def test_one_kernel_compiles_as_in_the_checked_in_table(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benchmarks.static", "--sm", "90", "--rows", str(tmp_path / "rows.json")]
    command += ["--only", "encode 4096x4096 K=19 uint8 to float32"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text()).values()
    assert row["kernel"] == "encode" and row["spills"] == 0 and row["registers"] > 0 and row["accesses"]
