"""`make check-gpu` without a GPU: its dry run, how it judges, and that a crash or a wrong answer shows."""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gsskernels
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import (
    checks,
    judge,
    operators,
    place,
    report,
    sanitizer,
    suite,
    workers,
)
from benchmarks.gpu.cases import cases
from benchmarks.gpu.catalogue import calls
from benchmarks.kernels.providers import TRITON

DRY = place.Place(torch.device("cpu"), "reference", True)


def page(folder: Path) -> Path:
    file = folder / "page.md"
    file.write_text("".join(f"<!-- gpu-{n} -->\nold\n<!-- /gpu-{n} -->\n" for n in report.SECTIONS))
    return file


def test_a_dry_run_goes_through_every_phase(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dry-run", "--backend", "reference", "--out", str(tmp_path), "--only", "uint8/vote"]
    assert command.main([*arguments, "--ops", "linear_argmax"]) == 0
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "kernels-gpu.json").read_text())
    assert [phase["status"] for phase in results["phases"].values()] == ["done"] * 7
    assert results["checks"][0] | {"seconds": 0} == {
        "id": "maskige_decode/uint8/vote, K = 19", "status": "pass", "seconds": 0,
        "measured": results["checks"][0]["measured"],
    }  # fmt: skip
    assert {r["provider"] for r in results["rows"]} >= {TRITON, "torch.mm alone", "torch.compile"}
    assert all(r["agreement"] in (None, 1.0) for r in results["rows"])
    assert results["machine"]["dry_run"] and results["machine"]["backend"] == "reference"
    assert "correctness" in shown and "1 pass" in shown and "not measured" in shown and len(shown) < 12_000
    report.main([str(tmp_path / "kernels-gpu.json"), "--page", str(page(tmp_path))])
    text = (tmp_path / "page.md").read_text()
    assert "old" not in text and "**linear_argmax**, 9 x 12 x 8" in text and "A dry run on a CPU" in text


def test_without_a_gpu_a_real_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert command.main([]) == 2
    assert "no CUDA GPU is available" in capsys.readouterr().err


def test_unknown_phases_are_refused() -> None:
    with pytest.raises(SystemExit):
        command.main(["--phases", "correctness,magic"])


@pytest.mark.parametrize("phase", workers.PHASES)
def test_checks_have_names_of_their_own(phase: str) -> None:
    on_gpu = place.Place(torch.device("cuda", 0), "triton", False)
    assert len(workers.checks_of(phase, on_gpu)) > len(workers.checks_of(phase, on_gpu, "nearest_code")) > 0


def test_every_operation_is_checked_called_and_measured() -> None:
    names = gsskernels.__all__
    on_gpu = place.Place(torch.device("cuda", 0), "triton", False)
    found = [check.id for check in workers.checks_of("correctness", on_gpu)]
    called, measured = [call.name for call in calls(DRY)], {case.op for case in cases(on_gpu, [])}
    for name in names:
        assert any(name in identity for identity in found), name
        assert any(call.startswith(name) for call in called), name
        assert name in measured, name
    assert set(operators.OPERATORS) >= set(names)


# --- A backend that is wrong is found out ---------------------------------------------------------------------------


def found_wrong(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Any], Any], only: str) -> list[str]:
    """Ids of checks that fail when the reference, standing in for the kernels, has its results changed."""
    right = getattr(gsskernels, name)

    def wrong(*arguments: Any, backend: str | None = None, **named: Any) -> Any:
        result = right(*arguments, backend="reference", **named)
        return change(result) if backend == "broken" else result

    monkeypatch.setattr(gsskernels, name, wrong)
    broken = place.Place(torch.device("cpu"), "broken", True)
    results = workers.run("correctness", broken, 1, time.time() + 60, only)
    assert results and all(r["detail"] for r in results if r["status"] == "wrong")
    return [r["id"] for r in results if r["status"] == "wrong"]


def test_a_wrong_label_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(result: Any) -> Any:
        labels = result[0] if isinstance(result, tuple) else result
        if labels.numel() > 3:
            labels.view(-1)[3] ^= 1
        return result

    assert "maskige_decode/uint8/K = 19" in found_wrong(
        monkeypatch, "maskige_decode", change, "maskige_decode/uint8/K = 19"
    )


def test_a_code_that_is_not_the_nearest_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = found_wrong(monkeypatch, "nearest_code", lambda index: index.roll(1), "nearest_code/float32/")
    assert {"nearest_code/float32/normal 20 x 19 x 17", "nearest_code/float32/copies 11 x 18 x 5"} <= set(wrong)


def test_biased_draws_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(index: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.arange(len(index)) % 5 == 0, 0, index)

    assert found_wrong(monkeypatch, "linear_sample", change, "linear_sample/float32/7 tokens")


def test_a_loss_that_is_less_accurate_than_torch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = found_wrong(
        monkeypatch, "linear_cross_entropy", lambda loss: loss * (1 + 1e-5), "linear_cross_entropy/float32/sum"
    )
    assert len(wrong) >= 1


# --- Judging --------------------------------------------------------------------------------------------------------


def test_the_bound_of_an_index_is_the_documented_one() -> None:
    x, weight = torch.ones(1, 1, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64)
    bias = torch.zeros(2, dtype=torch.float64)
    bound = 3 * 2.0**-23  # (D + 2) 2^-23 max(|x| |w| + |b|) with D = 1
    weight[1, 0] = 1 + 0.99 * bound
    assert judge.best(torch.tensor([0]), x, weight, bias, 1)["not_the_float64_winner"] == 1
    weight[1, 0] = 1 + 1.01 * bound
    with pytest.raises(checks.Wrong, match="row 0 got 0"):
        judge.best(torch.tensor([0]), x, weight, bias, 1)
    with pytest.raises(checks.Wrong, match="reach from 2 to 2"):
        judge.best(torch.tensor([2]), x, weight, bias, 1)


def test_equality_knows_nan_dtype_and_place() -> None:
    judge.same(torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan]))
    with pytest.raises(checks.Wrong, match="is int32"):
        judge.same(torch.tensor([1], dtype=torch.int32), torch.tensor([1]))
    with pytest.raises(checks.Wrong, match=r"1 of 2 values .* the first at \(1,\): 3, expected 2"):
        judge.same(torch.tensor([1, 3]), torch.tensor([1, 2]))
    with pytest.raises(checks.Wrong, match="not finite"):
        judge.close(torch.tensor([1.0]), torch.tensor([math.inf]), 1e-3, 1e-3)


def test_errors_are_set_against_pytorch() -> None:
    truth = torch.tensor([1.0, 2.0], dtype=torch.float64)
    theirs = truth.bfloat16() + torch.tensor([0.02, 0.0]).bfloat16()
    judge.no_worse(truth.bfloat16() + torch.tensor([0.03, 0.0]).bfloat16(), theirs, truth, "it")
    with pytest.raises(checks.Wrong, match="the error of it is"):
        judge.no_worse(truth.bfloat16() + torch.tensor([0.06, 0.0]).bfloat16(), theirs, truth, "it")


def test_chi_squared() -> None:
    probability = torch.tensor([0.5, 0.3, 0.2, 0.0])
    assert judge.follows(torch.tensor([5000, 3010, 1990, 0]), probability)["p"] > 0.5
    with pytest.raises(checks.Wrong, match="chi-squared"):
        judge.follows(torch.tensor([5300, 2800, 1900, 0]), probability)
    with pytest.raises(checks.Wrong, match="no probability"):
        judge.follows(torch.tensor([5000, 3000, 1999, 1]), probability)


# --- Processes ------------------------------------------------------------------------------------------------------


def test_a_check_never_stops_the_others() -> None:
    def sticky() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    statuses = {
        "pass": lambda: {"value": 1.0},
        "wrong": lambda: judge.same(torch.tensor(1), torch.tensor(2)),
        "absent": lambda: (_ for _ in ()).throw(checks.Absent("not here")),
        "error": sticky,
    }
    for status, run in statuses.items():
        result = checks.perform(checks.Check("group", status, run))
        assert result["status"] == status and result["id"] == f"group/{status}"
        assert result.get("sticky", False) == (status == "error")


def test_a_process_that_dies_costs_one_check(tmp_path: Path) -> None:
    """The first process ends in its second check; another one goes on behind it."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import argparse, json, os\n"
        "parser = argparse.ArgumentParser(); parser.add_argument('--out'); parser.add_argument('--skip')\n"
        "given = parser.parse_args(); done = open(given.skip).read().split()\n"
        "with open(given.out, 'a') as out:\n"
        "    for name in ('a', 'b', 'c'):\n"
        "        if name in done: continue\n"
        "        print(json.dumps({'began': name}), file=out, flush=True)\n"
        "        if name == 'b': os._exit(7)\n"
        "        print(json.dumps({'id': name, 'status': 'pass', 'seconds': 0.0}), file=out, flush=True)\n"
        "    print(json.dumps({'complete': True}), file=out)\n"
    )
    process = workers._Process([sys.executable, str(script)], tmp_path / "0.jsonl")
    while process.poll():
        time.sleep(0.02)
    assert {name: result["status"] for name, result in process.results.items()} == {
        "a": "pass",
        "b": "error",
        "c": "pass",
    }
    assert "ended with 7" in process.results["b"]["detail"]


def test_what_time_does_not_allow_is_reported() -> None:
    results = workers.run("integration", DRY, 1, time.time() - 1)
    assert checks.summary(results)["not reached"] == len(results) > 50


# --- Other tools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "code", "output", "status"),
    [
        ("memcheck", 0, "ran a\nran b\n========= ERROR SUMMARY: 0 errors\n", "pass"),
        ("memcheck", 86, "ran a\n========= ERROR SUMMARY: 3 errors\n", "wrong"),
        ("racecheck", 86, "ran a\n========= RACECHECK SUMMARY: 1 hazard displayed (1 error)\n", "wrong"),
        ("memcheck", 0, "========= ERROR SUMMARY: 0 errors\n", "error"),  # nothing ran
        ("memcheck", 1, "ran a\nTraceback\n========= ERROR SUMMARY: 0 errors\n", "error"),
        ("memcheck", 1, "========= Error: Device not supported\n", "absent"),
    ],
)
def test_what_the_sanitizer_says(tool: str, code: int, output: str, status: str) -> None:
    assert sanitizer.verdict(tool, code, output, 1.0)["status"] == status


def test_what_pytest_reports() -> None:
    report_ = (
        '<testsuites><testsuite><testcase classname="tests.triton.test_a" name="test_x" time="0.5"/>'
        '<testcase classname="tests.triton.test_a" name="test_y" time="1"><failure message="no">trace</failure>'
        "</testcase>"
        '<testcase classname="tests.triton.test_a" name="test_z" time="0"><skipped message="why"/></testcase>'
        "</testsuite></testsuites>"
    )
    found = suite.results(report_)
    assert [(r["id"], r["status"]) for r in found] == [
        ("tests/test_a/test_x", "pass"),
        ("tests/test_a/test_y", "wrong"),
        ("tests/test_a/test_z", "absent"),
    ]
    assert suite.results("<testsuites/>")[0]["status"] == "error"
