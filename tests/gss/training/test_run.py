"""A whole run on a few procedural scenes: what `gss train` leaves behind."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from PIL import Image

import gss
from gss.data.check import DataError
from gss.data.folder import FolderDataset
from gss.data.scenes import generate_scenes
from gss.evaluation import ceiling, evaluate
from gss.training import read_metrics
from gss.training.run import class_pixels, train
from tests.gss.tiny import tiny_recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    generate_scenes(folder, train=4, val=2, size=(48, 64), seed=0)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_recipe(), data, tmp_path_factory.mktemp("run") / "gss")


def test_a_run_folder_is_self_contained(run: Path) -> None:
    assert {"config.json", "model.safetensors", "recipe.yaml", "versions.json", "metrics.jsonl", "checkpoints"} <= {
        file.name for file in run.iterdir()
    }
    config = json.loads((run / "config.json").read_text())
    assert config["palette"]["classes"][0] == "sky"
    assert config["backbone"]["model_type"] == "resnet"
    assert json.loads((run / "versions.json").read_text())["packages"]["torch"] == version("torch")
    steps = [(line["stage"], line["step"]) for line in read_metrics(run / "metrics.jsonl")]
    assert steps == [("tokenizer", 1), ("tokenizer", 2), ("tokenizer", 3), ("prior", 1), ("prior", 2), ("prior", 3)]


def test_the_loaded_run_scores_and_predicts(run: Path, data: Path) -> None:
    model = gss.load(run)
    held_out = FolderDataset(data, "val", model.palette)
    metrics = evaluate(model, held_out)
    assert set(metrics) == {"mIoU", "mAcc", "aAcc", "per_class"}
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
    from safetensors.torch import load_file

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


def test_the_twin_trains_and_loads(data: Path, tmp_path: Path) -> None:
    run = train(tiny_recipe(model="pixel-classifier"), data, tmp_path / "twin")
    assert isinstance(gss.load(run), gss.PixelClassifier)


def test_the_twin_sees_the_same_batches(run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gss.training import stages

    def recorded(stage: type, model: str, name: str) -> list[torch.Tensor]:
        images: list[torch.Tensor] = []
        forward = stage.forward

        def watched(self, batch):
            images.append(batch["image"].clone())
            return forward(self, batch)

        monkeypatch.setattr(stage, "forward", watched)
        train(tiny_recipe(model=model), data, tmp_path / name)
        return images

    ours = recorded(stages.PriorTraining, "gss", "a")
    twins = recorded(stages.ClassifierTraining, "pixel-classifier", "b")
    assert len(ours) == len(twins) == 3
    assert all(torch.equal(a, b) for a, b in zip(ours, twins, strict=True))


def test_broken_data_stops_before_the_first_step(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    generate_scenes(broken, train=2, val=1, size=(48, 64), seed=0)
    mask = sorted((broken / "annotations" / "train").iterdir())[0]
    Image.new("L", (64, 48), 77).save(mask)
    with pytest.raises(DataError, match=mask.name):
        train(tiny_recipe(), broken, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_class_pixels_count_the_train_split(data: Path) -> None:
    dataset = FolderDataset(data, "train", gss.Palette.load(data / "palette.json"))
    counts = class_pixels(dataset)
    assert len(counts) == 8
    assert sum(counts) == sum(int((dataset[i]["label"] != 255).sum()) for i in range(len(dataset)))
