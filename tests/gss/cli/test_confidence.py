"""Calibration, abstaining and draws on the command line, with an untrained model: nothing is faked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import gss
from gss.cli import main
from gss.io.labels import read_label
from gss.palette import Palette
from gss.prediction.calibration import Calibration
from gss.prediction.hypotheses import sample
from gss.scenes import generate_scenes
from gss.training.run import build_gss, save_model
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and run/, whose calibration `gss evaluate` wrote, scores.json beside it."""
    folder = tmp_path_factory.mktemp("confidence")
    generate_scenes(folder / "data", train=2, val=2, size=(32, 48), seed=0)
    torch.manual_seed(0)
    (folder / "run").mkdir()
    save_model(build_gss(tiny_recipe(), PALETTE), folder / "run")
    options = ["--data", str(folder / "data"), "--device", "cpu", "--json", str(folder / "scores.json")]
    assert main(["evaluate", str(folder / "run"), "--calibration", *options]) == 0
    return folder


@pytest.fixture
def photo(folder: Path) -> Path:
    return sorted((folder / "data" / "images" / "val").iterdir())[0]


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_evaluate_writes_the_calibration_and_says_what_it_is_worth(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = json.loads((folder / "scores.json").read_text())
    calibration = Calibration.load(folder / "run" / "calibration.json")
    confidence = scores["confidence"]
    assert (confidence["slope"], confidence["intercept"]) == (calibration.slope, calibration.intercept)
    assert calibration.score == confidence["score"] == "certainty"
    assert list(confidence["scores"]) == ["margin", "certainty"]
    assert confidence["file"] == str(folder / "run" / "calibration.json") and confidence["fit_split"] is None
    assert confidence["error"] == pytest.approx(1 - scores["aAcc"])
    for values in confidence["scores"].values():
        assert set(values) == {"auroc", "aurc", "excess_aurc", "risk_at_coverage", "ece"}
    plain = folder / "plain.json"
    command = ["evaluate", str(folder / "run"), "--data", str(folder / "data"), "--device", "cpu"]
    assert main([*command, "--json", str(plain)]) == 0
    values = json.loads(plain.read_text())
    assert "confidence" not in values and values["per_class"] == scores["per_class"]
    capsys.readouterr()


def test_evaluate_fits_on_another_split(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    command = ["evaluate", str(run), "--data", str(folder / "data"), "--device", "cpu"]
    assert main([*command, "--calibration", "--fit-split", "train"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("AUROC of errors" in line and "ECE after" in line for line in lines)
    assert sum(line.startswith("confidence of at least") for line in lines) == 4
    assert str(run / "calibration.json") in lines
    assert Calibration.load(run / "calibration.json") != Calibration.load(folder / "run" / "calibration.json")
    assert main([*command, "--fit-split", "train"]) == 1
    assert "--fit-split: expected --calibration with it" in error(capsys)


def test_evaluate_fits_on_the_score_that_is_asked_for(
    folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = tmp_path / "run", tiny_recipe()
    shutil.copytree(folder / "run", run)
    options = ["--data", str(folder / "data"), "--device", "cpu", "--calibration"]
    assert main(["evaluate", str(run), *options, "--score", "margin"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "confidence by the margin:" in out and any(line.startswith("certainty ") for line in out)
    calibration = Calibration.load(run / "calibration.json")
    assert calibration.score == "margin" and calibration.unit == "levels"
    result = gss.load(run).predict(photo)
    threshold = float(result.confidence(calibration).quantile(0.3))
    command = ["predict", str(run), str(photo), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--abstain", repr(threshold)]) == 0
    labels = read_label(tmp_path / "out" / f"{photo.stem}_labels.png", PALETTE)
    assert torch.equal(labels, result.abstain(calibration, threshold).labels)
    assert main(["evaluate", str(run), "--data", str(folder / "data"), "--score", "margin"]) == 1
    assert "--score: expected --calibration with it" in error(capsys)
    (tmp_path / "twin").mkdir()
    save_model(gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior)), tmp_path / "twin")
    assert main(["evaluate", str(tmp_path / "twin"), *options, "--score", "certainty"]) == 1
    assert "expected a certainty for every image, got none" in error(capsys)
    assert not (tmp_path / "twin" / "calibration.json").exists()


def test_a_calibration_by_certainty_is_no_use_to_windows(
    folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    config = json.loads((run / "config.json").read_text())
    config["inference"] |= {"mode": "slide", "crop": [32, 32], "stride": [16, 16]}
    (run / "config.json").write_text(json.dumps(config))
    command = ["predict", str(run), str(photo), "--out", str(tmp_path / "out"), "--device", "cpu", "--abstain", "0.5"]
    assert main(command) == 1
    assert "this result has no certainty" in error(capsys)


def test_predict_abstains_below_the_confidence(folder: Path, photo: Path, tmp_path: Path) -> None:
    result = gss.load(folder / "run").predict(photo)
    confidence = result.confidence(Calibration.load(folder / "run" / "calibration.json"))
    threshold = float(confidence.quantile(0.3))
    command = ["predict", str(folder / "run"), str(photo), "--out", str(tmp_path), "--device", "cpu"]
    assert main([*command, "--abstain", repr(threshold)]) == 0
    labels = read_label(tmp_path / f"{photo.stem}_labels.png", PALETTE)
    assert torch.equal(labels, result.labels.masked_fill(confidence < threshold, 255))
    assert (labels == 255).any() and (labels != 255).any()
    assert (tmp_path / f"{photo.stem}_strip.png").is_file()


def test_abstaining_needs_the_calibration_of_these_weights(
    folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    command = ["predict", str(run), str(photo), "--out", str(tmp_path / "out"), "--device", "cpu", "--abstain", "0.5"]
    torch.manual_seed(1)
    save_model(build_gss(tiny_recipe(), PALETTE), run)
    assert main(command) == 1
    assert "calibration.json: made for other weights" in error(capsys)
    (run / "calibration.json").unlink()
    assert main(command) == 1
    message = error(capsys)
    assert f"{run / 'calibration.json'}: no such file" in message
    assert f"`gss evaluate {run} --data DIR --calibration` writes it" in message
    assert not (tmp_path / "out").exists()


def test_predict_draws_hypotheses(folder: Path, photo: Path, tmp_path: Path) -> None:
    command = ["predict", str(folder / "run"), str(photo), "--out", str(tmp_path), "--device", "cpu"]
    draws = ["--samples", "4", "--hypotheses", "2", "--temperature", "0.5", "--seed", "7", "--threshold", "0.1"]
    assert main([*command, *draws]) == 0
    name = photo.stem
    kinds = ("entropy", "hypothesis_0", "hypothesis_1", "labels", "maskige", "modal", "overlay", "strip")
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{name}_{kind}.png" for kind in kinds]
    found = sample(gss.load(folder / "run"), photo, samples=4, temperature=0.5, seed=7, distinct=2, threshold=0.1)
    assert found.name == name
    assert torch.equal(read_label(tmp_path / f"{name}_modal.png"), found.labels)
    assert torch.equal(read_label(tmp_path / f"{name}_hypothesis_1.png"), found.maps[found.distinct[1]])


def test_a_pixel_classifier_has_nothing_to_draw(
    folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe()
    twin = gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior))
    (tmp_path / "twin").mkdir()
    save_model(twin, tmp_path / "twin")
    assert main(["predict", str(tmp_path / "twin"), str(photo), "--out", str(tmp_path / "o"), "--samples", "2"]) == 1
    assert "--samples: expected a generative run" in error(capsys)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--abstain", "90", "expected a probability, 0 to 1, got '90'"),
        ("--abstain", "nan", "expected a probability, 0 to 1, got 'nan'"),
        ("--samples", "0", "expected a whole number of at least 1, got '0'"),
        ("--temperature", "0", "expected a number above 0, got '0'"),
        ("--temperature", "hot", "expected a number above 0, got 'hot'"),
    ],
)
def test_wrong_numbers_are_wrong_usage(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["predict", "run", "photo.png", "--out", "out", option, value])
    assert exit_info.value.code == 2 and message in error(capsys)
