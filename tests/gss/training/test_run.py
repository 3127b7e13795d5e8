"""A whole run on a few procedural scenes: what `gss train` leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import gss
from gss.config import Recipe
from gss.data.check import DataError
from gss.data.sources.layouts import open_dataset
from gss.evaluation.ceiling import ceiling
from gss.evaluation.scores import evaluate
from gss.palette import Palette
from gss.palettes.files import write_palette
from gss.training import stages
from gss.training.checkpoint import load_weights, save_weights
from gss.training.data import find_training_data
from gss.training.metrics_log import read_metrics
from gss.training.plan import holds_run
from gss.training.resume import ResumeMismatch
from gss.training.run import train
from tests.gss.tiny import tiny_recipe


def test_a_run_folder_is_self_contained(run: Path) -> None:
    names = {"config.json", "model.safetensors", "README.md", "recipe.yaml", "versions.json", "metrics.jsonl"}
    assert {file.name for file in run.iterdir()} == names | {"checkpoints"}
    config = json.loads((run / "config.json").read_text())
    assert config["palette"]["classes"][0] == "sky"
    assert config["backbone"]["model_type"] == "resnet"
    assert json.loads((run / "versions.json").read_text())["packages"]["torch"] == version("torch")
    steps = [(line["stage"], line["step"]) for line in read_metrics(run / "metrics.jsonl")]
    assert steps == [(stage, step) for stage in ("tokenizer", "prior") for step in (1, 2, 3)]


def test_the_loaded_run_scores_and_predicts(run: Path, data: Path) -> None:
    model = gss.load(run)
    held_out = open_dataset(data, "val", model.palette)
    metrics = evaluate(model, held_out)
    assert set(metrics) == {"mIoU", "mAcc", "aAcc", "per_class", "confusion"}
    assert sum(map(sum, metrics["confusion"])) == sum(row["pixels"] for row in metrics["per_class"].values())
    right = total = 0
    for index in range(len(held_out)):
        pair = held_out[index]
        known = pair["label"] != 255
        right += int((model.predict(pair["image"]).labels == pair["label"])[known].sum())
        total += int(known.sum())
    assert metrics["aAcc"] == pytest.approx(right / total)
    bound = ceiling(model, held_out)
    assert 0 <= bound["mIoU"] <= 1
    assert 1 <= bound["perplexity"] <= bound["codes_used"] <= bound["codes"] == 32
    assert bound["tokens_per_image"] == 12 * 16
    assert bound["maskige_scale"] == 0.5


def test_the_tokenizer_in_the_run_is_stage_ones(run: Path) -> None:
    """Stage 2, its EMA included, leaves the tokenizer as stage 1 finished it."""
    stage_one = load_file(run / "checkpoints" / "tokenizer" / "final.safetensors")
    codebook = next(value for name, value in stage_one.items() if name.endswith("quantizer.codebook"))
    assert torch.equal(gss.load(run).tokenizer.quantizer.codebook, codebook)


def test_resuming_a_finished_run_changes_nothing(run: Path, data: Path) -> None:
    before = (run / "model.safetensors").read_bytes()
    log = (run / "metrics.jsonl").read_text()
    train(tiny_recipe(), data, run, resume=True)
    assert (run / "model.safetensors").read_bytes() == before
    assert (run / "metrics.jsonl").read_text() == log


def test_a_second_run_in_the_same_folder_is_refused(run: Path, data: Path) -> None:
    with pytest.raises(FileExistsError, match="--resume"):
        train(tiny_recipe(), data, run)


def test_the_twin_sees_the_same_batches(
    data: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded(stage: type, model: str, run: Path) -> list[torch.Tensor]:
        images: list[torch.Tensor] = []
        forward = stage.forward

        def watched(self, batch):
            images.append(batch["image"].clone())
            return forward(self, batch)

        monkeypatch.setattr(stage, "forward", watched)
        train(tiny_recipe(model=model), data, run, resume=True)
        return images

    shutil.rmtree(folder / "checkpoints" / "prior")
    ours = recorded(stages.PriorTraining, "gss", folder)
    twins = recorded(stages.ClassifierTraining, "pixel-classifier", tmp_path / "twin")
    assert len(ours) == len(twins) == 3
    assert all(torch.equal(a, b) for a, b in zip(ours, twins, strict=True))
    assert isinstance(gss.load(tmp_path / "twin"), gss.PixelClassifier)


def test_broken_data_stops_before_the_first_step(data: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(data, tmp_path / "broken"))
    mask = sorted((broken / "annotations" / "train").iterdir())[0]
    Image.new("L", (64, 48), 77).save(mask)
    with pytest.raises(DataError, match=mask.name):
        train(tiny_recipe(), broken, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def refused(recipe: Recipe, data: Path, folder: Path, message: str) -> None:
    """Resuming raises ResumeMismatch and changes no file."""

    def contents() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    before = contents()
    with pytest.raises(ResumeMismatch, match=message):
        train(recipe, data, folder, resume=True)
    assert contents() == before


def changed(section: str, **values: Any) -> Recipe:
    recipe = tiny_recipe()
    return replace(recipe, **{section: replace(getattr(recipe, section), **values)})


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (changed("tokenizer", temperature=0.2), "recipe.tokenizer.temperature: was 0.1, now 0.2"),
        (changed("prior", class_balance=0.5), "recipe.prior.class_balance: was 0.0, now 0.5"),
        (changed("prior_stage", learning_rate=0.5), "config.learning_rate: was 0.001, now 0.5"),
        (tiny_recipe(pretrained="someone/something"), "recipe.pretrained: was None, now 'someone/something'"),
        (tiny_recipe(seed=1), "seed: was 0, now 1"),
        (
            tiny_recipe(backbone=tiny_recipe().backbone | {"depths": [1, 1, 1, 2]}),
            "recipe.backbone.depths: was [1, 1, 1, 1], now [1, 1, 1, 2]",
        ),
        (tiny_recipe(model="pixel-classifier"), "model: was 'gss', now 'pixel-classifier'"),
    ],
)
def test_a_finished_run_is_not_resumed_under_another_recipe(
    data: Path, folder: Path, recipe: Recipe, message: str
) -> None:
    refused(recipe, data, folder, re.escape(message))


def test_changed_data_is_refused(data: Path, folder: Path, tmp_path: Path) -> None:
    scenes = Path(shutil.copytree(data, tmp_path / "scenes"))
    palette = json.loads((scenes / "palette.json").read_text())
    palette["colors"][0] = [1, 2, 3]
    (tmp_path / "other.json").write_text(json.dumps(palette))
    other = tiny_recipe(palette=str(tmp_path / "other.json"))
    refused(other, scenes, folder, r"palette\.colors: was \[\[.*now \[\[1, 2, 3\]")

    mask = sorted((scenes / "annotations" / "train").iterdir())[0]
    Image.new("L", (64, 48), 0).save(mask)
    refused(tiny_recipe(), scenes, folder, r"data\.pixels\.sky: was \d+, now \d+")


def test_how_tokens_are_decoded_may_change(data: Path, folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    train(changed("prior", decode="consensus"), data, folder, resume=True)
    assert (folder / "model.safetensors").read_bytes() == weights
    model = gss.load(folder)
    assert isinstance(model, gss.GSS) and model.prior_config.decode == "consensus"
    assert "decode: consensus" in (folder / "recipe.yaml").read_text()


def test_a_longer_tokenizer_needs_a_new_stage_two(data: Path, folder: Path) -> None:
    longer, prior = changed("tokenizer_stage", steps=4), folder / "checkpoints" / "prior"
    refused(longer, data, folder, rf"tokenizer_stage\.steps: was 3, now 4.*remove {prior} to train")
    shutil.rmtree(prior)
    train(longer, data, folder, resume=True)
    stage_one = load_file(folder / "checkpoints" / "tokenizer" / "final.safetensors")
    assert torch.equal(gss.load(folder).tokenizer.quantizer.codebook, stage_one["tokenizer.quantizer.codebook"])


def test_stage_two_is_tied_to_the_weights_of_stage_one(data: Path, folder: Path) -> None:
    final = folder / "checkpoints" / "tokenizer" / "final.safetensors"
    weights, metadata = load_weights(final)
    weights["tokenizer.quantizer.codebook"] += 1
    save_weights(final, weights, metadata)
    prior = folder / "checkpoints" / "prior"
    refused(tiny_recipe(), data, folder, rf"tokenizer weights: was '\w+', now '\w+'\n.*remove {prior} to train")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (changed("prior_stage", batch_size=5), r"prior_stage: dataset: 4 samples, but one step takes 5"),
        (changed("prior", swin_heads=3), "swin_heads: expected a divisor of 16"),
        (tiny_recipe(backbone={"model_type": "no-such-network"}), "no-such-network"),
        pytest.param(
            changed("prior_stage", mixed_precision="fp16"),
            'prior_stage: mixed_precision: "fp16" needs a GPU',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU"),
        ),
    ],
)
def test_a_run_that_cannot_begin_leaves_nothing(data: Path, tmp_path: Path, recipe: Recipe, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(recipe, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_a_run_blocks_its_folder(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not holds_run(folder)
    folder.mkdir()
    (folder / "recipe.yaml").write_text("seed: 0\n")
    (folder / "metrics.jsonl").write_text("")
    (folder / "checkpoints" / "tokenizer").mkdir(parents=True)
    assert not holds_run(folder)
    (folder / "metrics.jsonl").write_text("{}\n")
    assert holds_run(folder)
    for file in ("config.json", "checkpoints/prior/final.safetensors", "checkpoints/tokenizer/step_0000002.pt"):
        other = tmp_path / Path(file).name
        (other / file).parent.mkdir(parents=True)
        shutil.copy(run / file, other / file)
        assert holds_run(other), file


def test_train_reads_the_train_split_only_and_tidies_up(data: Path, tmp_path: Path) -> None:
    scenes = Path(shutil.copytree(data, tmp_path / "scenes"))
    for part in ("images", "annotations"):
        shutil.rmtree(scenes / part / "val")
    folder = tmp_path / "run"
    (folder / ".model-x1y2z3").mkdir(parents=True)
    (folder / ".model-x1y2z3" / "model.safetensors").write_bytes(b"half")
    (folder / ".model.0a1b2c3d.tmp.safetensors").write_bytes(b"half")
    before = os.umask(0o022)
    try:
        train(tiny_recipe(model="pixel-classifier"), scenes, folder)
    finally:
        os.umask(before)
    assert not list(folder.glob(".*"))
    files = ("model.safetensors", "README.md", "config.json", "recipe.yaml", "checkpoints/classifier/final.safetensors")
    assert {oct((folder / file).stat().st_mode & 0o777) for file in files} == {"0o644"}


def test_the_data_set_is_cached_only_where_it_fits(data: Path) -> None:
    found = find_training_data(tiny_recipe(), data)
    augmentation = tiny_recipe().prior_stage.augmentation
    for cache_gib, cached in ((4 * 4 * 48 * 64 / 2**30, True), (1e-6, False), (0.0, False)):
        dataset = found.dataset(augmentation, cache_gib)
        dataset[0]
        assert bool(dataset._cache) == cached


KILLED = """
import os, signal, sys
from pathlib import Path
from gss.training import stages
from gss.training.data import find_training_data
from gss.training.run import train
from tests.gss.tiny import tiny_recipe

forward, calls = stages.PriorTraining.forward, []

def killed(self, batch):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return forward(self, batch)

stages.PriorTraining.forward = killed
train(tiny_recipe(), Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_killed_in_stage_two_and_resumed_equals_the_uninterrupted_run(run: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(data), str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in (folder / "checkpoints" / "prior").iterdir()] == ["step_0000002.pt"]
    assert not (folder / "config.json").exists()
    train(tiny_recipe(), data, folder, resume=True)

    def history(folder: Path) -> list[dict[str, Any]]:
        lines = read_metrics(folder / "metrics.jsonl")
        return [{key: value for key, value in line.items() if key != "it_per_s"} for line in lines]

    assert history(folder) == history(run)
    got, expected = load_file(folder / "model.safetensors"), load_file(run / "model.safetensors")
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], value) for name, value in expected.items())


def test_a_data_set_in_its_official_folders_is_trained_on_as_it_is(tmp_path: Path) -> None:
    """ADE20K stores class k as k + 1; images come repeated and unchecked where that is asked for."""
    palette = Palette.named("ade20k")
    for split in ("training", "validation"):
        for folder in ("images", "annotations"):
            (tmp_path / "ade" / folder / split).mkdir(parents=True)
        for index in range(2):
            image = torch.randint(256, (48, 64, 3), dtype=torch.uint8)
            Image.fromarray(image.numpy()).save(tmp_path / "ade" / "images" / split / f"ADE_{index:08d}.jpg")
            label = torch.randint(151, (48, 64)).to(torch.uint8)
            Image.fromarray(label.numpy()).save(tmp_path / "ade" / "annotations" / split / f"ADE_{index:08d}.png")
    recipe = tiny_recipe(palette="ade20k")
    data = find_training_data(recipe, tmp_path / "ade")
    assert data.palette == palette and len(data.names) == 2
    assert sum(data.pixels) < 2 * 48 * 64  # 0 is unlabelled there
    assert find_training_data(recipe, tmp_path / "ade", check=False).pixels is None
    with pytest.raises(ValueError, match="palette: 'scenes' does not have the classes of the 'ade20k' data set"):
        find_training_data(tiny_recipe(), tmp_path / "ade")
    run = train(recipe, tmp_path / "ade", tmp_path / "run")
    assert gss.load(run).palette == palette
    with pytest.raises(ValueError, match="class_balance: expected 0 where the data is not checked"):
        train(recipe, tmp_path / "ade", tmp_path / "unchecked", check=False)


def test_the_recipes_colours_are_used_for_the_datas_classes(data: Path, tmp_path: Path) -> None:
    palette = Palette.named("scenes")
    colors = tuple((255 - red, green, blue) for red, green, blue in palette.colors)
    write_palette(tmp_path / "fitted.json", Palette("fitted", palette.class_names, colors))
    recipe = tiny_recipe(palette=str(tmp_path / "fitted.json"))
    assert find_training_data(recipe, data).palette.colors == colors
    write_palette(tmp_path / "other.json", Palette("other", palette.class_names[::-1], colors))
    other = tiny_recipe(palette=str(tmp_path / "other.json"))
    assert find_training_data(other, data).palette.class_names == palette.class_names
