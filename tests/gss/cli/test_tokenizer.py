"""gss tokenizer and gss ceiling on a real run of stage 1 alone, trained on label maps without images."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gss
import gsskernels
from gss.cli import main
from gss.config import InverseConfig
from gss.config.loading import recipe_to_yaml
from gss.convert.vqgan import vqgan_from_state
from gss.io.labels import read_label
from gss.model.codec import MaskigeCodec
from gss.model.loading import load_codec, save_codec
from gss.scenes import generate_scenes
from gss.training.metrics_log import read_metrics
from gss.training.run import train
from tests.gss.convert.vqgan_reference import Sizes, checkpoint
from tests.gss.tiny import tiny_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scenes/ with images, labels/ without, tiny.yaml, and run/, which `gss tokenizer train` left on labels/."""
    folder = tmp_path_factory.mktemp("tokenizer")
    generate_scenes(folder / "scenes", train=4, val=2, size=(48, 64), seed=0)
    shutil.copytree(folder / "scenes" / "annotations", folder / "labels" / "annotations")
    shutil.copy(folder / "scenes" / "palette.json", folder / "labels")
    (folder / "tiny.yaml").write_text(recipe_to_yaml(tiny_recipe()))
    assert main(train_command(folder, "labels", "run")) == 0
    return folder


def train_command(folder: Path, data: str, run: str, *more: str) -> list[str]:
    options = ["--recipe", str(folder / "tiny.yaml"), "--data", str(folder / data), "--out", str(folder / run)]
    return ["tokenizer", "train", *options, *more]


def measured(command: str, *options: object, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert main([*command.split(), *map(str, options), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_run_tells_how_the_codebook_was_used_in_training(folder: Path) -> None:
    files = {"config.json", "model.safetensors", "README.md", "recipe.yaml", "versions.json"}
    assert files <= {file.name for file in (folder / "run").iterdir()}
    assert 'load_codec("FOLDER")' in (folder / "run" / "README.md").read_text()
    lines = read_metrics(folder / "run" / "metrics.jsonl")
    assert [(line["stage"], line["step"]) for line in lines] == [("tokenizer", step) for step in (1, 2, 3)]
    for line in lines:
        assert 1 <= line["perplexity"] <= 32 and 0 <= line["codes_used"] <= 32 and line["codes_restarted"] >= 0


def test_images_make_no_difference(folder: Path) -> None:
    whole = train(replace(tiny_recipe(), stages=("tokenizer",)), folder / "scenes", folder / "whole")
    expected, got = load_file(whole / "model.safetensors"), load_file(folder / "run" / "model.safetensors")
    assert len(got) > 10
    for name, value in got.items():
        assert torch.equal(value, expected[f"tokenizer.{name}"]), name


def test_health_counts_the_tokens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = measured("tokenizer health", folder / "run", "--data", folder / "labels", capsys=capsys)
    codec = load_codec(folder / "run")
    counts = torch.zeros(32, dtype=torch.int64)
    for file in sorted((folder / "labels" / "annotations" / "val").iterdir()):
        # A token stands for 4 x 4 pixels of the image and for 2 x 2 of the maskige, which is half as large.
        labels = gsskernels.label_resize(read_label(file)[None], (24, 32), num_classes=8)
        tokens = codec.tokenizer.encode(codec.maskige.encode(labels))
        assert tokens.shape == (1, 12, 16)
        counts += torch.bincount(tokens.flatten(), minlength=32)
    assert values["codes"] == 32 and values["tokens_per_image"] == 192 and values["counts"] == counts.tolist()
    assert values["codes_used"] + len(values["dead_codes"]) == 32
    assert all(values["counts"][code] == 0 for code in values["dead_codes"])
    assert 1 <= values["perplexity"] <= values["codes_used"]
    share = torch.tensor(values["counts"]).double() / 384
    assert values["perplexity"] == pytest.approx(float(torch.exp(torch.special.entr(share).sum())))
    assert values["commonest_share"] == pytest.approx(float(share.max()))


def test_health_as_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "health", str(folder / "run"), "--data", str(folder / "labels")]) == 0
    text = capsys.readouterr().out
    assert "codes used" in text and "of 32" in text and "bits a token" in text and "dead codes" in text


def test_ceiling_of_the_run_with_and_without_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without = measured("ceiling", folder / "run", "--data", folder / "labels", capsys=capsys)
    with_images = measured("ceiling", folder / "run", "--data", folder / "scenes", capsys=capsys)
    assert without == with_images
    assert without["tokens_per_image"] == 192 and 0 < without["mIoU"] < 1


def test_a_flat_folder_of_label_maps(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "flat"
    shutil.copytree(folder / "labels" / "annotations" / "val", data)
    shutil.copy(folder / "labels" / "palette.json", data)
    flat = measured("tokenizer health", folder / "run", "--data", data, capsys=capsys)
    split = measured("tokenizer health", folder / "run", "--data", folder / "labels", capsys=capsys)
    assert flat["counts"] == split["counts"]


def test_a_run_is_resumed_and_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(train_command(folder, "labels", "run")) == 1
    assert "holds a run already" in capsys.readouterr().err
    before = load_file(folder / "run" / "model.safetensors")
    assert main(train_command(folder, "labels", "run", "--resume")) == 0
    after = load_file(folder / "run" / "model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_files_need_not_be_read_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(train_command(folder, "labels", "unchecked", "--no-check")) == 1
    assert "class_balance: expected 0 where the data is not checked" in capsys.readouterr().err
    assert main(train_command(folder, "labels", "unchecked", "--no-check", "tokenizer.class_balance=0")) == 0
    assert load_codec(folder / "unchecked").tokenizer.codes == 32


def test_a_prior_takes_the_tokenizer_of_the_run(folder: Path) -> None:
    recipe = replace(tiny_recipe(), stages=("prior",), tokenizer_weights=str(folder / "run"))
    whole = load_file(train(recipe, folder / "scenes", folder / "prior") / "model.safetensors")
    for name, value in load_file(folder / "run" / "model.safetensors").items():
        assert torch.equal(whole[f"tokenizer.{name}"], value), name
    other = replace(recipe, tokenizer=replace(recipe.tokenizer, codes=64))
    with pytest.raises(ValueError, match="another tokenizer than configured: codes 32, expected 64"):
        train(other, folder / "scenes", folder / "other")


def test_a_model_is_trained_on_a_vqgan(folder: Path, tmp_path: Path) -> None:
    """By overrides of a recipe, as a user would; the weights stay those of the checkpoint, also in the saved model."""
    state = checkpoint("taming", Sizes(channels=(32, 32, 64), attention=(2,), blocks=1, groups=32)).state
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    sizes = "type: vqgan, codes: 24, code_dim: 5, channels: [32, 32, 64], blocks: 1, attention_levels: [2]"
    overrides = [f"tokenizer={{{sizes}, latent_channels: 6}}", f"tokenizer_weights={tmp_path / 'last.ckpt'}"]
    options = ["--recipe", str(folder / "tiny.yaml"), "--data", str(folder / "scenes"), "--out", str(tmp_path / "run")]
    assert main(["train", *options, *overrides]) == 0
    assert {line["stage"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")} == {"prior"}
    model = gss.load(tmp_path / "run")
    expected = vqgan_from_state(state).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.tokenizer.state_dict().items())
    result = model.predict(torch.zeros(3, 48, 64, dtype=torch.uint8))
    assert result.labels.shape == (48, 64) and result.tokens.shape == (12, 16)


def test_a_tokenizer_is_no_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="unknown architecture 'tokenizer'; it holds a tokenizer alone"):
        gss.load(folder / "run")
    assert main(["evaluate", str(folder / "run"), "--data", str(folder / "scenes")]) == 1
    assert "holds a tokenizer alone" in capsys.readouterr().err


def test_damaged_runs_are_named(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copy(folder / "run" / file, run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "tokenizer": {**config["tokenizer"], "codes": 33}}))
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged, or not of the tokenizer in config\.json"):
        load_codec(run)
    for damaged in ("{", "[]", json.dumps({**config, "palette": 3}), json.dumps({**config, "tokenizer": None})):
        (run / "config.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"config\.json: no (model configuration|configuration of a tokenizer)"):
            load_codec(run)
    with pytest.raises(FileNotFoundError, match="no such run folder"):
        load_codec(tmp_path / "nothing")


def test_a_learned_inverse_is_not_left_behind(folder: Path, tmp_path: Path) -> None:
    codec = load_codec(folder / "run")
    codec = MaskigeCodec(codec.palette, codec.tokenizer, InverseConfig(type="convolution", channels=8))
    with pytest.raises(ValueError, match=r"codec: expected the nearest colour as X\^-1, got a learned one"):
        save_codec(codec, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pixel_classifier_has_no_tokenizer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny_recipe(model="pixel-classifier")
    train(recipe, folder / "scenes", folder / "twin")
    assert main(["ceiling", str(folder / "twin"), "--data", str(folder / "scenes")]) == 1
    assert "a pixel classifier has no tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tokenizer={type: dalle}", "expected a generative model with tokenizer.type 'compact' to train, got 'dalle'"),
        ("model=pixel-classifier", "tokenizer.type 'compact' to train, got 'pixel-classifier'"),
        ("tokenizer_stage.batch_size=64", "tokenizer_stage: dataset: 4 samples, but one step takes 64"),
    ],
)
def test_what_cannot_be_trained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    command = ["tokenizer", "train", override, "--recipe", str(folder / "tiny.yaml"), "--data", str(folder / "labels")]
    assert main([*command, "--out", str(tmp_path / "run")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_ceiling_of_a_vqgan(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": checkpoint("taming", Sizes(channels=(32, 32), attention=(), groups=32)).state}, file)
    options = ["--vqgan", file, "--data", folder / "labels", "--scale", "1"]
    values = measured("ceiling", *options, "--palette", "scenes", capsys=capsys)
    assert values["codes"] == 24 and values["tokens_per_image"] == 24 * 32 and values["maskige_scale"] == 1
    use = measured("tokenizer health", *options, "--palette", "scenes", capsys=capsys)
    assert use["codes_used"] == values["codes_used"] and use["perplexity"] == pytest.approx(values["perplexity"])

    assert main(["ceiling", *map(str, options)]) == 1
    assert "expected --palette NAME or FILE with --dalle and --vqgan" in capsys.readouterr().err
    assert main(["ceiling", "--data", str(folder / "labels")]) == 1
    assert "expected one of RUN, --dalle DIR and --vqgan PATH, got 0 of them" in capsys.readouterr().err
    assert main(["ceiling", "run", *map(str, options)]) == 1
    assert "expected one of RUN, --dalle DIR and --vqgan PATH, got 2 of them" in capsys.readouterr().err
