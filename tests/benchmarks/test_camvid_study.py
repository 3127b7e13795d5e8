"""benchmarks/camvid_study.py: what waits for what, and what is left when a case fails."""

import argparse
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks import camvid_study
from benchmarks.camvid_study import Case, measure


def arguments(folder: Path, jobs: int) -> argparse.Namespace:
    return argparse.Namespace(runs=folder, jobs=jobs, data=folder, threads=1, device=None, overrides=[])


def cases(given: argparse.Namespace, *recipes: str) -> dict[tuple[str, int], Case]:
    return {(recipe, seed): Case(recipe, seed, given) for recipe in recipes for seed in (0, 1)}


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_run_that_starts_from_another_waits_for_it(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, ended, lock = arguments(tmp_path, jobs), [], threading.Lock()

    def train(self: Case) -> None:
        with lock:
            ended.append((self.recipe, self.seed))

    monkeypatch.setattr(Case, "train_and_score", train)
    found = dict(measure(cases(given, "camvid-small-ft", "camvid-small"), given))
    assert found == dict.fromkeys(ended)
    for seed in (0, 1):
        assert ended.index(("camvid-small", seed)) < ended.index(("camvid-small-ft", seed))


def test_what_starts_from_a_failed_run_fails_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = arguments(tmp_path, 2)

    def train(self: Case) -> None:
        if (self.recipe, self.seed) == ("camvid-small", 1):
            raise RuntimeError("no such data")

    monkeypatch.setattr(Case, "train_and_score", train)
    found = dict(measure(cases(given, "camvid-small", "camvid-small-ft", "camvid-small-twin"), given))
    failed = {key: str(error) for key, error in found.items() if error is not None}
    assert failed == {("camvid-small", 1): "no such data", ("camvid-small-ft", 1): "no such data"}


def test_the_network_of_x_starts_from_the_run_of_its_seed(tmp_path: Path) -> None:
    settings = Case("camvid-small-ft", 1, arguments(tmp_path, 1)).settings()
    assert settings[-2:] == [f"start_from={tmp_path / 'camvid-small-1'}", "stages=[inverse]"]
    assert not any("start_from" in word for word in Case("camvid-small-tt", 1, arguments(tmp_path, 1)).settings())


def test_a_failed_command_says_what_it_printed(tmp_path: Path) -> None:
    case = Case("camvid-small", 0, arguments(tmp_path, 1))
    with pytest.raises(RuntimeError, match=r"(?s)camvid-small-0-train\.log.*invalid choice"):
        case.command("train", ["no-such-command"])


def test_finished_cases_are_written_though_others_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(self: Case) -> None:
        if self.recipe == "camvid-small":
            raise RuntimeError("it broke")
        self.run.mkdir()
        (self.run / "val.json").write_text("{}")

    def scores(self: Case) -> dict[str, Any]:
        ece = {"before": {"width": 0.05}, "after": {"width": 0.01}}
        return {
            "recipe": self.recipe,
            "seed": self.seed,
            "mIoU": 0.5,
            "mAcc": 0.6,
            "aAcc": 0.8,
            "stages": {},
            "confidence": {"score": "margin", "scores": {"margin": {"ece": ece}}},
        }

    monkeypatch.setattr(Case, "train_and_score", train)
    monkeypatch.setattr(Case, "scores", scores)
    out = tmp_path / "study.json"
    words = ["study", str(tmp_path), "--runs", str(tmp_path / "runs"), "--out", str(out), "--seeds", "0"]
    monkeypatch.setattr("sys.argv", [*words, "--recipes", "camvid-small", "camvid-small-twin"])
    with pytest.raises(SystemExit, match="camvid-small, seed 0: it broke"):
        camvid_study.main()
    assert [row["recipe"] for row in json.loads(out.read_text())["runs"]] == ["camvid-small-twin"]
