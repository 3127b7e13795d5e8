"""Commands that need no trained model: the arguments of training, data checks, scenes, versions."""

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
from gss.cli.train import AFTER_INTERRUPT
from gss.config import Recipe
from gss.io.labels import write_label
from gss.palette import Palette
from gss.palettes.files import write_palette
from gss.training.outcome import TrainingDiverged, TrainingInterrupted
from tests.gss.data.trees import write_ids, write_image

TRAIN = ["train", "--data", "d", "--out", "r", "--recipe"]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A data set of two classes with palette.json."""
    for split in ("train", "val"):
        for name in ("a", "b"):
            write_image(tmp_path / "images" / split / f"{name}.png", (8, 12))
            write_ids(tmp_path / "annotations" / split / f"{name}.png", [0, 1], (8, 12))
    write_palette(tmp_path / "palette.json", Palette("two", ("left", "right"), ((200, 0, 0), (0, 0, 200))))
    return tmp_path


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> list:
    """Recipes and training that record their arguments. The recipe's name is the error that training raises."""
    calls = []

    def load_recipe(name, overrides=()):
        calls.append(("load_recipe", name, list(overrides)))
        return Recipe(name=name)

    def train(recipe, data_dir, run_dir, resume=False, **options):
        calls.append(("train", recipe.name, data_dir, run_dir, resume))
        errors = {
            "interrupted": KeyboardInterrupt("stopped at step 12"),
            "diverged": TrainingDiverged("prior", 12, {"loss": float("nan")}, None),
            "bug": RuntimeError("a bug"),
        }
        if recipe.name in errors:
            raise errors[recipe.name]

    monkeypatch.setitem(sys.modules, "gss.config.loading", types.SimpleNamespace(load_recipe=load_recipe))
    monkeypatch.setitem(sys.modules, "gss.training.run", types.SimpleNamespace(train=train))
    return calls


def test_train_passes_recipe_overrides_and_paths(training, capsys):
    assert main([*TRAIN, "demo", "--seed", "3", "--resume", "scale=0.5", "prior_stage.steps=7"]) == 0
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


def test_an_interrupted_command_tells_how_to_resume(training, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gss.scenes.generate_scenes", lambda *args, **settings: None)
    again = "the same command again resumes from the last checkpoint"
    for command, hint in (([*TRAIN, "interrupted"], AFTER_INTERRUPT), (["demo", "--out", str(tmp_path)], again)):
        assert main([*command, "--recipe", "interrupted"]) == 130
        assert capsys.readouterr().err == f"stopped at step 12\n{hint}\n"
    assert "--" not in str(TrainingInterrupted("prior", 3, 9, Path("c.pt"))), "without a command there is no option"


def test_bugs_keep_their_traceback_and_diverged_runs_are_one_message(training, capsys):
    with pytest.raises(RuntimeError, match="a bug"):
        main([*TRAIN, "bug"])
    assert main([*TRAIN, "diverged"]) == 1
    assert "12" in capsys.readouterr().err


def test_image_files_names_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.jpg"):
        image_files([tmp_path / "nothing.jpg"])
    with pytest.raises(ValueError, match="no images"):
        image_files([tmp_path])


def test_info_shows_versions_and_backends(capsys):
    assert main(["info", "--json", "-"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["gss"] == gss.__version__ and values["torch"].startswith(torch.__version__.split("+")[0])
    assert values["kernel backends"]["reference"] is None
    assert main(["info"]) == 0
    assert "reference: available" in capsys.readouterr().out


def test_data_check_passes_and_finds_a_wrong_class(two, capsys):
    assert main(["data", "check", str(two)]) == 0
    wide = Palette("three", ("x", "y", "z"), ((0, 0, 1), (0, 0, 2), (0, 0, 3)))
    write_label(two / "annotations" / "val" / "a.png", torch.full((8, 12), 2, dtype=torch.uint8), wide)
    capsys.readouterr()
    assert main(["data", "check", str(two), "--json", "-"]) == 1
    assert "a.png" in capsys.readouterr().out


def test_data_check_asks_for_a_palette_and_names_those_that_fit(two, capsys):
    (two / "palette.json").unlink()

    def error(largest: int) -> str:
        Image.fromarray(np.array([[largest, 255]], np.uint8)).save(two / "annotations" / "val" / "b.png")
        assert main(["data", "check", str(two)]) == 1
        return capsys.readouterr().err

    text = error(1)
    assert "no palette.json" in text and "--palette NAME or --palette FILE" in text
    assert "for class ids up to 1: " in text and "camvid (11 classes)" in text and "scenes (8 classes)" in text
    text = error(12)
    assert "for class ids up to 12: " in text and "cityscapes (19 classes)" in text and "camvid" not in text
    assert "none of the shipped ones has class id 250" in error(250)
    assert main(["data", "check", str(two), "--palette", "ade20k"]) == 1
    assert "size mismatch: 1" in capsys.readouterr().out


@pytest.mark.parametrize("palette", [[], ["--palette", "scenes"]])
def test_data_check_refuses_a_path_that_is_no_folder(two, capsys, palette):
    for path in (two / "nowhere", two / "palette.json"):
        assert main(["data", "check", str(path), *palette]) == 1
        assert capsys.readouterr().err == f"gss: error: {path}: expected a folder, but there is no such folder\n"


def test_data_scenes_writes_a_folder_that_passes_the_check(tmp_path):
    root = tmp_path / "scenes"
    assert main(["data", "scenes", str(root), "--train", "2", "--val", "1", "--size", "48x64", "--seed", "5"]) == 0
    assert main(["data", "check", str(root)]) == 0
    assert len(list((root / "images" / "train").iterdir())) == 2
