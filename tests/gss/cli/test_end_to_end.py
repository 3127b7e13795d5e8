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

SCENES = Palette.named("scenes")


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
def run(folder: Path, capsys: pytest.CaptureFixture[str]):
    """run(command, ...) on the run and its data -> (exit code, stdout, stderr)."""

    def call(command: str, *arguments: object, data: Path | None = folder / "data") -> tuple[int, str, str]:
        capsys.readouterr()
        source = [] if data is None else ["--data", data]
        code = main([command, str(folder / "run"), *map(str, source), *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_train_applied_every_override(folder: Path) -> None:
    recipe = load_recipe(folder / "run" / "recipe.yaml")
    assert (recipe.tokenizer_stage.steps, recipe.prior_stage.steps, recipe.seed, recipe.name) == (2, 4, 3, "x")


def test_evaluate_shows_a_table_and_writes_the_scores_of_the_predictions(run, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "scores.json"
    code, text, _ = run("evaluate", "--json", target, "--device", "cpu")
    assert code == 0 and "2 images" in text and "(val)" in text
    scores = json.loads(target.read_text())
    assert set(scores) == {"mIoU", "mAcc", "aAcc", "per_class", "confusion", "images", "seconds", "run", "split"}
    model = gss.load(folder / "run")
    right = total = 0
    for path in sorted((folder / "data" / "images" / "val").iterdir()):
        label = read_label(folder / "data" / "annotations" / "val" / path.name)
        right += int((model.predict(path).labels == label)[label != 255].sum())
        total += int((label != 255).sum())
    assert scores["aAcc"] == pytest.approx(right / total)
    assert list(scores["per_class"]) == list(SCENES.class_names)
    assert (scores["images"], scores["run"], scores["split"]) == (2, str(folder / "run"), "val")
    for key in ("mIoU", "mAcc", "aAcc"):
        assert f"{100 * scores[key]:.1f} %" in text
    for name, values in scores["per_class"].items():
        assert name in text and f"{values['pixels']:,}" in text


def test_json_on_stdout_is_json_only(run) -> None:
    assert json.loads(run("evaluate", "--split", "train", "--json", "-")[1])["split"] == "train"
    values = json.loads(run("ceiling", "--json", "-")[1])
    assert 0 <= values["mIoU"] <= 1 and 0 <= values["mIoU_full_size"] <= 1
    assert 1 <= values["perplexity"] <= values["codes_used"] <= values["codes"] == 32
    assert values["tokens_per_image"] == 12 * 16
    text = run("ceiling")[1]
    assert f"codes used: {values['codes_used']} of 32, perplexity {values['perplexity']:.1f}" in text
    assert f"mean IoU at full size: {100 * values['mIoU_full_size']:.1f} %" in text


def test_a_missing_split_or_device_is_one_line(run) -> None:
    code, _, error = run("evaluate", "--split", "test")
    assert code == 1 and "images/test" in error.splitlines()[-1]
    for device in ("nonsense", "cuda:99"):
        code, _, error = run("evaluate", "--device", device)
        expected = f"gss: error: --device: '{device}' cannot be used here"
        assert code == 1 and error.splitlines()[-1].startswith(expected)


@pytest.mark.parametrize("command", ["evaluate", "ceiling"])
def test_another_order_of_classes_is_refused(command: str, run, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder / "data", data)
    order = [1, 0, *range(2, SCENES.num_classes)]
    names, colors = (tuple(values[k] for k in order) for values in (SCENES.class_names, SCENES.colors))
    write_palette(data / "palette.json", Palette("other", names, colors))
    code, out, err = run(command, "--json", "-", data=data)
    error = err.splitlines()[-1]
    assert code == 1 and out == "" and error.startswith("gss: error: ")
    assert "palette.json: expected the model's classes, but class 0 is building instead of sky" in error
    assert "the model's palette is 'scenes' (sky, building, road," in error
    assert "the data's 'other' (building, sky, road," in error


def test_predict_saves_labels_that_read_back(run, folder: Path, tmp_path: Path) -> None:
    whole = Image.open(next((folder / "data" / "images" / "val").iterdir()))
    whole.crop((0, 0, 53, 39)).save(tmp_path / "odd.png")
    out = tmp_path / "new" / "out"
    code, text, _ = run("predict", tmp_path / "odd.png", "--out", out, "--device", "cpu", data=None)
    assert code == 0 and text.split() == [str(out / "odd_strip.png")]
    kinds = ("labels", "maskige", "overlay", "strip")
    assert sorted(file.name for file in out.iterdir()) == [f"odd_{kind}.png" for kind in kinds]
    result = gss.load(folder / "run").predict(tmp_path / "odd.png")
    labels = read_label(out / "odd_labels.png", result.palette)
    assert labels.shape == (39, 53) and torch.equal(labels, result.labels)
    shown = np.asarray(Image.open(out / "odd_labels.png").convert("RGB"))
    assert (shown == result.palette.tensor()[labels.long()].numpy()).all()
    assert torch.equal(read_image(out / "odd_maskige.png"), result.maskige)


def test_one_bad_image_does_not_stop_predict(run, folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(folder / "data" / "images" / "val", photos)
    (photos / "00000.png").write_bytes((photos / "00000.png").read_bytes()[:200])
    Image.fromarray(np.array([[1, 60000]], np.uint16)).save(photos / "deep.png")
    code, out, err = run("predict", photos, "--out", tmp_path / "out", data=None)
    assert code == 1 and out.split() == [str(tmp_path / "out" / "00001_strip.png")]
    bad, deep, count = err.splitlines()[-3:]
    assert "00000.png: cannot be read as an image" in bad and "deep.png: expected an image of 8 bits" in deep
    assert "2 of 3 images" in count


def test_predict_refuses_two_files_of_one_name_before_it_writes(run, folder: Path, tmp_path: Path) -> None:
    images = [folder / "data" / "images" / split / "00000.png" for split in ("train", "val")]
    code, _, error = run("predict", *images, "--out", tmp_path / "out", data=None)
    assert code == 1 and "would write the same file names" in error
    assert not (tmp_path / "out").exists()


def test_saving_a_batch_keeps_every_result(folder: Path, tmp_path: Path) -> None:
    batch = torch.stack([read_image(path) for path in sorted((folder / "data" / "images" / "val").iterdir())])
    results = gss.load(folder / "run").predict(batch)
    assert isinstance(results, list)
    saved = [result.save(tmp_path)["labels"].name for result in results]
    assert saved == ["image_000_labels.png", "image_001_labels.png"]


def test_info_shows_the_parts_of_a_run(run, folder: Path) -> None:
    _, text, _ = run("info", data=None)
    for part, count in gss.load(folder / "run").num_parameters().items():
        assert f"{part}: {count:,}" in text
    assert "GSS" in text and all(name in text for name in SCENES.class_names)


def test_demo_runs_every_step_and_resumes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("TRAIN_SCENES", 4), ("VAL_SCENES", 2), ("SCENE_SIZE", (48, 64))):
        monkeypatch.setattr(f"gss.cli.demo.{name}", value)
    command = ["demo", "--out", str(tmp_path), "--recipe", str(folder / "tiny.yaml"), "--seed", "4"]
    reports = []
    for _ in range(2):
        assert main(command) == 0
        text = capsys.readouterr().out
        assert "sky" in text and str(tmp_path / "report" / "report.html") in text
        reports.append(json.loads((tmp_path / "report" / "report.json").read_text()))
    assert reports[0]["metrics"] == reports[1]["metrics"]
    assert reports[0]["pictures"] == ["00000_strip.png", "00001_strip.png"]
    facts = reports[0]["extra"]
    assert facts["held-out images"] == 2 and facts["recipe"]["seed"] == 4
    assert facts["parameters"] == sum(gss.load(tmp_path / "run").num_parameters().values())
    assert "data:image/png;base64," in (tmp_path / "report" / "report.html").read_text()
