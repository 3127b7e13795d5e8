import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gss
from gss.cli import main
from gss.cli.predict import image_files
from gss.cli.training import AFTER_INTERRUPT
from gss.io.images import save_image
from gss.io.labels import write_label
from gss.io.pictures import to_pillow
from gss.model.result import Result
from gss.palette import Palette
from gss.palettes.files import write_palette

PALETTE = Palette("two", ("left", "right"), ((200, 0, 0), (0, 0, 200)))
METRICS = {
    "mIoU": 0.5,
    "mAcc": 0.625,
    "aAcc": 0.75,
    "per_class": {"left": {"IoU": 0.5, "Acc": 0.625, "pixels": 1200}, "right": {"IoU": None, "Acc": None, "pixels": 0}},
}


class Model:
    """What the commands ask of a model."""

    palette = PALETTE

    def to(self, device):
        return self

    def num_parameters(self) -> dict[str, int]:
        return {"encoder": 1000, "classifier": 1234}

    def predict(self, image):
        height, width = 8, 12
        return Result(
            image=torch.zeros(3, height, width, dtype=torch.uint8),
            labels=torch.zeros(height, width, dtype=torch.uint8),
            margin=torch.zeros(height, width),
            palette=PALETTE,
        )


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        (root / "annotations" / split).mkdir(parents=True)
        for name in ("a", "b"):
            image = to_pillow(torch.full((3, 8, 12), 90, dtype=torch.uint8))
            save_image(root / "images" / split / f"{name}.png", image)
            labels = torch.zeros(8, 12, dtype=torch.uint8)
            labels[:, 6:] = 1
            write_label(root / "annotations" / split / f"{name}.png", labels, PALETTE)
    write_palette(root / "palette.json", PALETTE)
    return root


@pytest.fixture
def model(monkeypatch):
    """A loadable model, and an evaluation that returns METRICS and records what it was given."""
    calls = []

    def evaluate(model, dataset, progress=None):
        calls.append((model, dataset))
        progress(len(dataset), len(dataset))
        return METRICS

    def ceiling(model, dataset, progress=None, scale=None, box=None):
        codes = {"codes_used": 7, "codes": 16, "perplexity": 5.25}
        return {"mIoU": 0.875, "mIoU_full_size": 0.8125, "per_class": METRICS["per_class"], **codes}

    monkeypatch.setitem(vars(gss), "load", lambda path: Model())
    monkeypatch.setitem(sys.modules, "gss.evaluation.scores", types.SimpleNamespace(evaluate=evaluate))
    monkeypatch.setitem(sys.modules, "gss.evaluation.ceiling", types.SimpleNamespace(ceiling=ceiling))
    monkeypatch.setitem(sys.modules, "gss.model.loading", types.SimpleNamespace(load_codec=lambda path: Model()))
    return calls


@pytest.fixture
def training(monkeypatch):
    """Recipes and training that record their arguments; "broken" diverges, "interrupted" is stopped by Ctrl-C."""
    from gss.config import Recipe

    calls = []

    def load_recipe(name, overrides=()):
        calls.append(("load_recipe", name, list(overrides)))
        return Recipe(name=name)

    def train(recipe, data_dir, run_dir, resume=False, **options):
        calls.append(("train", recipe.name, data_dir, run_dir, resume))
        if recipe.name == "interrupted":
            raise KeyboardInterrupt("stopped at step 12")
        if recipe.name == "bug":
            raise RuntimeError("a bug")

    monkeypatch.setitem(sys.modules, "gss.config.loading", types.SimpleNamespace(load_recipe=load_recipe))
    monkeypatch.setitem(sys.modules, "gss.training.run", types.SimpleNamespace(train=train))
    return calls


def test_palette_show(capsys):
    assert main(["palette", "show", "scenes"]) == 0
    text = capsys.readouterr().out
    palette = Palette.named("scenes")
    assert all(name in text for name in palette.class_names)
    red, green, blue = palette.colors[0]
    assert f"#{red:02x}{green:02x}{blue:02x}" in text and "levels apart" in text


def test_palette_show_lists_and_prints_json(capsys):
    assert main(["palette", "show"]) == 0
    assert "camvid" in capsys.readouterr().out.split()
    assert main(["palette", "show", "camvid", "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert len(values["colors"]) == 11 and values["min_distance"] > 0


def test_train_passes_recipe_overrides_and_paths(training, capsys):
    arguments = ["train", "--recipe", "demo", "--data", "d", "--out", "r", "--seed", "3", "--resume"]
    assert main([*arguments, "scale=0.5", "prior_stage.steps=7"]) == 0
    assert training == [
        ("load_recipe", "demo", ["scale=0.5", "prior_stage.steps=7", "seed=3"]),
        ("train", "demo", Path("d"), Path("r"), True),
    ]
    assert capsys.readouterr().out == "finished: r\n"


@pytest.mark.parametrize("cut", range(5))
def test_overrides_stand_before_between_and_after_options(training, cut):
    groups = [["--recipe", "demo"], ["--data", "d"], ["--out", "r"], ["--resume"]]
    groups[cut:cut] = [["a=1", "b=2"]]
    assert main(["train", *(word for group in groups for word in group), "c=3"]) == 0
    assert training[0] == ("load_recipe", "demo", ["a=1", "b=2", "c=3"])
    assert training[1][-1] is True


def test_an_interrupted_command_says_how_to_go_on(training, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gss.scenes.generate_scenes", lambda *args, **settings: None)
    assert main(["train", "--recipe", "interrupted", "--data", "d", "--out", "r"]) == 130
    assert capsys.readouterr().err == f"stopped at step 12\n{AFTER_INTERRUPT}\n"
    assert main(["demo", "--recipe", "interrupted", "--out", str(tmp_path)]) == 130
    expected = "stopped at step 12\nthe same command again resumes from the last checkpoint\n"
    assert capsys.readouterr().err == expected


def test_an_interrupted_run_is_described_without_a_command():
    from gss.training.outcome import TrainingInterrupted

    assert "--" not in str(TrainingInterrupted("prior", 3, 9, Path("c.pt")))


def test_a_bug_keeps_its_traceback(training):
    with pytest.raises(RuntimeError, match="a bug"):
        main(["train", "--recipe", "bug", "--data", "d", "--out", "r"])


def test_a_diverged_training_is_1(training, monkeypatch, capsys):
    from gss.training.outcome import TrainingDiverged

    def train(recipe, data_dir, run_dir, resume=False, **options):
        raise TrainingDiverged("prior", 12, {"loss": float("nan")}, None)

    monkeypatch.setitem(sys.modules, "gss.training.run", types.SimpleNamespace(train=train))
    assert main(["train", "--recipe", "demo", "--data", "d", "--out", "r"]) == 1
    assert "12" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_writes_json(model, folder, tmp_path, capsys):
    target = tmp_path / "metrics.json"
    assert main(["evaluate", "some-run", "--data", str(folder), "--json", str(target)]) == 0
    text = capsys.readouterr().out
    assert "left" in text and "50.0 %" in text and "1,200" in text and "62.5 %" in text and "75.0 %" in text
    assert "2 images" in text and "(val)" in text
    saved = json.loads(target.read_text())
    assert set(saved) == {"mIoU", "mAcc", "aAcc", "per_class", "images", "seconds", "run", "split"}
    assert (saved["mIoU"], saved["images"], saved["run"], saved["split"]) == (0.5, 2, "some-run", "val")
    assert model[0][1].palette is PALETTE and model[0][1].names == ["a", "b"]


def test_evaluate_json_on_stdout_is_json_only(model, folder, capsys):
    assert main(["evaluate", "run", "--data", str(folder), "--split", "train", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "train"


def test_evaluate_without_that_split_is_one_line(model, folder, capsys):
    assert main(["evaluate", "run", "--data", str(folder), "--split", "test"]) == 1
    assert "test" in capsys.readouterr().err


def test_ceiling_tells_the_codes(model, folder, tmp_path, capsys):
    target = tmp_path / "ceiling.json"
    assert main(["ceiling", "run", "--data", str(folder), "--json", str(target)]) == 0
    text = capsys.readouterr().out
    assert "87.5 %" in text and "81.2 %" in text and "codes used: 7 of 16, perplexity 5.2" in text
    assert json.loads(target.read_text())["codes_used"] == 7


def test_predict_saves_the_pictures(model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", "run", str(folder / "images" / "val"), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out / "a_strip.png"), str(out / "b_strip.png")]
    assert (out / "a_labels.png").is_file() and (out / "b_overlay.png").is_file()


def test_predict_refuses_two_files_of_one_name_before_it_writes(model, folder, tmp_path, capsys):
    images = [str(folder / "images" / split / "a.png") for split in ("train", "val")]
    assert main(["predict", "run", *images, "--out", str(tmp_path / "out")]) == 1
    assert "would write the same file names" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_image_files_names_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.jpg"):
        image_files([tmp_path / "nothing.jpg"])
    with pytest.raises(ValueError, match="no images"):
        image_files([tmp_path])


def test_info_tells_versions_and_a_model(model, capsys):
    assert main(["info", "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["gss"] == gss.__version__ and values["torch"].startswith(torch.__version__.split("+")[0])
    assert values["kernel backends"]["reference"] is None
    assert main(["info"]) == 0
    assert "reference: available" in capsys.readouterr().out
    assert main(["info", "run"]) == 0
    text = capsys.readouterr().out
    assert "classifier: 1,234" in text and "left" in text


def test_data_check_passes_and_finds_a_wrong_class(folder, capsys):
    assert main(["data", "check", str(folder)]) == 0
    wide = Palette("three", ("x", "y", "z"), ((0, 0, 1), (0, 0, 2), (0, 0, 3)))
    write_label(folder / "annotations" / "val" / "a.png", torch.full((8, 12), 2, dtype=torch.uint8), wide)
    capsys.readouterr()
    assert main(["data", "check", str(folder), "--json", "-"]) == 1
    assert "a.png" in capsys.readouterr().out


def test_data_check_asks_for_a_palette_and_names_those_that_fit(folder, capsys):
    (folder / "palette.json").unlink()
    assert main(["data", "check", str(folder)]) == 1
    error = capsys.readouterr().err
    assert "no palette.json" in error and "--palette NAME or --palette FILE" in error
    assert "for class ids up to 1: " in error and "camvid (11 classes)" in error and "scenes (8 classes)" in error
    Image.fromarray(np.array([[12, 255]], np.uint8)).save(folder / "annotations" / "val" / "b.png")
    assert main(["data", "check", str(folder)]) == 1
    error = capsys.readouterr().err
    assert "for class ids up to 12: " in error and "cityscapes (19 classes)" in error and "camvid" not in error
    Image.fromarray(np.array([[250, 255]], np.uint8)).save(folder / "annotations" / "val" / "b.png")
    assert main(["data", "check", str(folder)]) == 1
    assert "none of the shipped ones has class id 250" in capsys.readouterr().err
    assert main(["data", "check", str(folder), "--palette", "ade20k"]) == 1
    assert "size mismatch: 1" in capsys.readouterr().out


def test_data_check_of_no_folder_says_so(folder, tmp_path, capsys):
    for path in (tmp_path / "nowhere", folder / "palette.json"):
        for palette in ([], ["--palette", "scenes"]):
            assert main(["data", "check", str(path), *palette]) == 1
            assert capsys.readouterr().err == f"gss: error: {path}: expected a folder, but there is no such folder\n"


def test_data_scenes_writes_a_folder_that_passes_the_check(tmp_path, capsys):
    root = tmp_path / "scenes"
    assert main(["data", "scenes", str(root), "--train", "2", "--val", "1", "--size", "48x64", "--seed", "5"]) == 0
    assert main(["data", "check", str(root)]) == 0
    assert len(list((root / "images" / "train").iterdir())) == 2


def test_demo_goes_the_whole_road(model, training, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gss.cli.demo.TRAIN_SCENES", 2)
    monkeypatch.setattr("gss.cli.demo.VAL_SCENES", 2)
    monkeypatch.setattr("gss.cli.demo.SCENE_SIZE", (48, 64))
    monkeypatch.setattr(Model, "palette", Palette.named("scenes"))
    assert main(["demo", "--out", str(tmp_path), "--seed", "4"]) == 0
    assert training == [
        ("load_recipe", "demo", ["seed=4"]),
        ("train", "demo", tmp_path / "scenes", tmp_path / "run", True),
    ]
    text = capsys.readouterr().out
    assert "left" in text and str(tmp_path / "report" / "report.html") in text
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["metrics"]["mIoU"] == 0.5
    assert report["extra"]["held-out images"] == 2 and report["extra"]["parameters"] == 2234
    assert len(report["pictures"]) == 2
