"""The commands on a real run: a tiny model trained by `gss train`, then scored and used. Nothing is faked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gss
from gss.cli import main
from gss.config.loading import load_recipe, recipe_to_yaml
from gss.io.images import read_image
from gss.io.labels import read_label
from gss.palette import Palette
from gss.palettes.files import write_palette
from gss.scenes import generate_scenes
from tests.gss.tiny import tiny_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ with scenes, tiny.yaml, and run/, which `gss train` left with overrides before and after the options."""
    folder = tmp_path_factory.mktemp("end_to_end")
    generate_scenes(folder / "data", train=4, val=2, size=(48, 64), seed=0)
    (folder / "tiny.yaml").write_text(recipe_to_yaml(tiny_recipe()))
    options = ["--recipe", str(folder / "tiny.yaml"), "--data", str(folder / "data"), "--out", str(folder / "run")]
    assert main(["train", "tokenizer_stage.steps=2", *options, "prior_stage.steps=4", "--seed", "3", "name=x"]) == 0
    return folder


@pytest.fixture
def reordered(folder: Path, tmp_path: Path) -> Path:
    """The same data with another order of classes in its palette.json."""
    data = tmp_path / "data"
    shutil.copytree(folder / "data", data)
    palette = Palette.named("scenes")
    order = [1, 0, *range(2, palette.num_classes)]
    names, colors = (tuple(values[k] for k in order) for values in (palette.class_names, palette.colors))
    write_palette(data / "palette.json", Palette("other", names, colors))
    return data


def test_train_applied_every_override(folder: Path) -> None:
    recipe = load_recipe(folder / "run" / "recipe.yaml")
    assert (recipe.tokenizer_stage.steps, recipe.prior_stage.steps, recipe.seed, recipe.name) == (2, 4, 3, "x")


def test_evaluate_writes_the_scores_of_the_predictions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "folder" / "scores.json"
    command = ["evaluate", str(folder / "run"), "--data", str(folder / "data"), "--json", str(target)]
    assert main([*command, "--device", "cpu"]) == 0
    assert "2 images" in capsys.readouterr().out
    scores = json.loads(target.read_text())
    model = gss.load(folder / "run")
    right = total = 0
    for path in sorted((folder / "data" / "images" / "val").iterdir()):
        label = read_label(folder / "data" / "annotations" / "val" / path.name)
        right += int((model.predict(path).labels == label)[label != 255].sum())
        total += int((label != 255).sum())
    assert scores["aAcc"] == pytest.approx(right / total)
    assert list(scores["per_class"]) == list(Palette.named("scenes").class_names)
    assert scores["images"] == 2


def test_ceiling_tells_what_the_tokenizer_allows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["ceiling", str(folder / "run"), "--data", str(folder / "data"), "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert 0 <= values["mIoU"] <= 1 and 0 <= values["mIoU_full_size"] <= 1
    assert 1 <= values["perplexity"] <= values["codes_used"] <= values["codes"] == 32
    assert values["tokens_per_image"] == 12 * 16


@pytest.mark.parametrize("command", ["evaluate", "ceiling"])
def test_another_order_of_classes_is_refused(
    command: str, folder: Path, reordered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([command, str(folder / "run"), "--data", str(reordered), "--json", "-"]) == 1
    captured = capsys.readouterr()
    error = captured.err.splitlines()[-1]
    assert captured.out == "" and error.startswith("gss: error: ")
    assert "palette.json: expected the model's classes, but class 0 is building instead of sky" in error
    assert "the model's palette is 'scenes' (sky, building, road," in error
    assert "the data's 'other' (building, sky, road," in error


def test_predict_saves_labels_that_read_back(folder: Path, tmp_path: Path) -> None:
    whole = Image.open(next((folder / "data" / "images" / "val").iterdir()))
    whole.crop((0, 0, 53, 39)).save(tmp_path / "odd.png")
    out = tmp_path / "new" / "out"
    assert main(["predict", str(folder / "run"), str(tmp_path / "odd.png"), "--out", str(out), "--device", "cpu"]) == 0
    kinds = ("labels", "maskige", "overlay", "strip")
    assert sorted(file.name for file in out.iterdir()) == [f"odd_{kind}.png" for kind in kinds]
    result = gss.load(folder / "run").predict(tmp_path / "odd.png")
    labels = read_label(out / "odd_labels.png", result.palette)
    assert labels.shape == (39, 53) and torch.equal(labels, result.labels)
    shown = np.asarray(Image.open(out / "odd_labels.png").convert("RGB"))
    assert (shown == result.palette.tensor()[labels.long()].numpy()).all()
    assert torch.equal(read_image(out / "odd_maskige.png"), result.maskige)


def test_one_bad_image_does_not_stop_predict(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(folder / "data" / "images" / "val", photos)
    (photos / "00000.png").write_bytes((photos / "00000.png").read_bytes()[:200])
    Image.fromarray(np.array([[1, 60000]], np.uint16)).save(photos / "deep.png")
    capsys.readouterr()
    assert main(["predict", str(folder / "run"), str(photos), "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.out.split() == [str(tmp_path / "out" / "00001_strip.png")]
    bad, deep, count = captured.err.splitlines()[-3:]
    assert "00000.png: cannot be read as an image" in bad and "deep.png: expected an image of 8 bits" in deep
    assert "2 of 3 images" in count


def test_saving_a_batch_keeps_every_result(folder: Path, tmp_path: Path) -> None:
    batch = torch.stack([read_image(path) for path in sorted((folder / "data" / "images" / "val").iterdir())])
    results = gss.load(folder / "run").predict(batch)
    assert isinstance(results, list)
    saved = [result.save(tmp_path)["labels"].name for result in results]
    assert saved == ["image_000_labels.png", "image_001_labels.png"]


def test_a_device_that_is_not_here_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for device in ("nonsense", "cuda:99"):
        assert main(["evaluate", str(folder / "run"), "--data", str(folder / "data"), "--device", device]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"gss: error: --device: '{device}' cannot be used here")


def test_demo_goes_the_whole_road_and_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("TRAIN_SCENES", 4), ("VAL_SCENES", 2), ("SCENE_SIZE", (48, 64))):
        monkeypatch.setattr(f"gss.cli.demo.{name}", value)
    command = ["demo", "--out", str(tmp_path / "demo"), "--recipe", str(folder / "tiny.yaml"), "--seed", "1"]
    reports = []
    for _ in range(2):
        assert main(command) == 0
        assert "report.html" in capsys.readouterr().out
        reports.append(json.loads((tmp_path / "demo" / "report" / "report.json").read_text()))
    assert reports[0]["metrics"] == reports[1]["metrics"]
    assert reports[0]["pictures"] == ["00000_strip.png", "00001_strip.png"]
    assert "data:image/png;base64," in (tmp_path / "demo" / "report" / "report.html").read_text()
