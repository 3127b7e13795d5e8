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
from gss.model.loading import build_gss
from gss.palette import Palette
from gss.prediction.calibration import Calibration
from gss.prediction.hypotheses import sample
from gss.scenes import generate_scenes
from gss.training.run import save_model
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


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(folder / "run", tmp_path / "run"))


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """The run of a pixel classifier."""
    recipe = tiny_recipe()
    (tmp_path / "twin").mkdir()
    save_model(gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior)), tmp_path / "twin")
    return tmp_path / "twin"


@pytest.fixture
def call(folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """call(command, run, ...) on the data or the photo -> (exit code, lines of stdout, last line of stderr).

    The pictures of `gss predict` go to out/.
    """
    inputs = {"evaluate": ["--data", folder / "data"], "predict": [photo, "--out", tmp_path / "out"]}

    def run_command(command: str, run: Path, *options: object) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = main([command, *map(str, [run, *inputs[command], "--device", "cpu", *options])])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.strip().rpartition("\n")[2]

    return run_command


def test_evaluate_writes_the_calibration_and_its_quality(call, folder: Path) -> None:
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
    code, lines, _ = call("evaluate", folder / "run", "--json", "-")
    values = json.loads("\n".join(lines))
    assert code == 0 and "confidence" not in values and values["per_class"] == scores["per_class"]


def test_evaluate_fits_on_another_split(call, folder: Path, run: Path) -> None:
    code, lines, _ = call("evaluate", run, "--calibration", "--fit-split", "train")
    assert code == 0
    assert any("AUROC of errors" in line and "ECE after" in line for line in lines)
    assert sum(line.startswith("confidence of at least") for line in lines) == 4
    assert str(run / "calibration.json") in lines
    assert Calibration.load(run / "calibration.json") != Calibration.load(folder / "run" / "calibration.json")


@pytest.mark.parametrize("option", [["--fit-split", "train"], ["--score", "margin"]])
def test_options_of_the_calibration_need_it(call, run: Path, option: list[str]) -> None:
    code, _, error = call("evaluate", run, *option)
    assert code == 1 and f"{option[0]}: expected --calibration with it" in error


def test_evaluate_fits_on_the_requested_score(call, run: Path, twin: Path, photo: Path, tmp_path: Path) -> None:
    code, lines, _ = call("evaluate", run, "--calibration", "--score", "margin")
    assert code == 0 and "confidence by the margin:" in lines
    assert any(line.startswith("certainty ") for line in lines)
    calibration = Calibration.load(run / "calibration.json")
    assert calibration.score == "margin" and calibration.unit == "levels"
    result = gss.load(run).predict(photo)
    threshold = float(result.confidence(calibration).quantile(0.3))
    assert call("predict", run, "--abstain", repr(threshold))[0] == 0
    labels = read_label(tmp_path / "out" / f"{photo.stem}_labels.png", PALETTE)
    assert torch.equal(labels, result.abstain(calibration, threshold).labels)
    code, _, error = call("evaluate", twin, "--calibration", "--score", "certainty")
    assert code == 1 and "expected a certainty for every image, got none" in error
    assert not (twin / "calibration.json").exists()


def test_windows_cannot_use_a_calibration_by_certainty(call, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["inference"] |= {"mode": "slide", "crop": [32, 32], "stride": [16, 16]}
    (run / "config.json").write_text(json.dumps(config))
    code, _, error = call("predict", run, "--abstain", "0.5")
    assert code == 1 and "this result has no certainty" in error


def test_predict_abstains_below_the_confidence(call, folder: Path, photo: Path, tmp_path: Path) -> None:
    result = gss.load(folder / "run").predict(photo)
    confidence = result.confidence(Calibration.load(folder / "run" / "calibration.json"))
    threshold = float(confidence.quantile(0.3))
    assert call("predict", folder / "run", "--abstain", repr(threshold))[0] == 0
    labels = read_label(tmp_path / "out" / f"{photo.stem}_labels.png", PALETTE)
    assert torch.equal(labels, result.labels.masked_fill(confidence < threshold, 255))
    assert (labels == 255).any() and (labels != 255).any()
    assert (tmp_path / "out" / f"{photo.stem}_strip.png").is_file()


def test_abstaining_needs_the_calibration_of_these_weights(call, run: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_model(build_gss(tiny_recipe(), PALETTE), run)
    code, _, error = call("predict", run, "--abstain", "0.5")
    assert code == 1 and "calibration.json: made for other weights" in error
    (run / "calibration.json").unlink()
    code, _, error = call("predict", run, "--abstain", "0.5")
    assert code == 1 and f"{run / 'calibration.json'}: no such file" in error
    assert f"`gss evaluate {run} --data DIR --calibration` writes it" in error
    assert not (tmp_path / "out").exists()


def test_predict_draws_hypotheses(call, folder: Path, photo: Path, tmp_path: Path) -> None:
    draws = ["--samples", 4, "--hypotheses", 2, "--temperature", 0.5, "--seed", 7, "--threshold", 0.1]
    assert call("predict", folder / "run", *draws)[0] == 0
    name, out = photo.stem, tmp_path / "out"
    kinds = ("entropy", "hypothesis_0", "hypothesis_1", "labels", "maskige", "modal", "overlay", "strip")
    assert sorted(file.name for file in out.iterdir()) == [f"{name}_{kind}.png" for kind in kinds]
    found = sample(gss.load(folder / "run"), photo, samples=4, temperature=0.5, seed=7, distinct=2, threshold=0.1)
    assert found.name == name
    assert torch.equal(read_label(out / f"{name}_modal.png"), found.labels)
    assert torch.equal(read_label(out / f"{name}_hypothesis_1.png"), found.maps[found.distinct[1]])


def test_a_pixel_classifier_cannot_draw(call, twin: Path, tmp_path: Path) -> None:
    code, _, error = call("predict", twin, "--samples", "2")
    assert code == 1 and "--samples: expected a generative run" in error
    assert not (tmp_path / "out").exists()


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
def test_wrong_numbers_are_wrong_usage(option: str, value: str, message: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["predict", "run", "photo.png", "--out", "out", option, value])
    assert exit_info.value.code == 2 and message in capsys.readouterr().err
