"""Official checkpoints of all ten layouts, through `gss convert`, into models that equal those they were made of."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gss
from gss.cli import main
from gss.convert.dalle import official_name
from gss.convert.names import official_names, to_official
from gss.convert.official import convert_official, left_out, merge_official, official_state, with_dalle
from gss.model.gss import GSS
from tests.gss.convert.official_models import (
    LAYOUTS,
    official_weights,
    recipe_file,
    save_checkpoint,
    small_model,
    small_recipe,
)

FF, FTW = "gss-ff_swin_cityscapes", "gss-ft-w_swin_cityscapes"
RECIPE, RECIPE_FTW = small_recipe(FF), small_recipe(FTW)


def assert_same_weights(got: GSS, wanted: GSS) -> None:
    """But for those of the pixel head, which X^-1 makes unnecessary, and of the norm that Swin does not use."""
    ours, theirs = got.state_dict(), wanted.state_dict()
    assert set(ours) == set(theirs)
    for name in official_names(ours):
        assert torch.equal(ours[name], theirs[name]), name


def convert(checkpoint: Path, layout: str, run: Path, *options: str) -> int:
    """The exit status of `gss convert` with the small recipe of the layout."""
    return main(["convert", str(checkpoint), "--recipe", recipe_file(layout, run.parent), "--out", str(run), *options])


@pytest.fixture(scope="module")
def ff() -> GSS:
    return small_model(FF)


@pytest.fixture(scope="module")
def ftw() -> GSS:
    return small_model(FTW, seed=1)


@pytest.fixture
def weights(ff: GSS) -> dict[str, Tensor]:
    return official_weights(ff)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_becomes_a_run(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small_model(layout)
    weights = official_weights(model)
    checkpoint = save_checkpoint(tmp_path / "official.pth", weights, zipped="ade20k" not in layout)
    assert convert(checkpoint, layout, tmp_path / "run", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    indices = sum(name.endswith("relative_position_index") for name in weights)
    assert report["converted"] == len(weights) - indices
    assert sum(report["left_out"].values()) == indices
    assert report["model"] == ("GSS-FT-W" if "ft-w" in layout else "GSS-FF")
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.suffix != ".md") == [
        "config.json",
        "model.safetensors",
    ]
    loaded = gss.load(tmp_path / "run")
    assert isinstance(loaded, GSS)
    assert_same_weights(loaded, model)
    assert loaded.palette.name == LAYOUTS[layout][2]
    assert (loaded.inference.mode == "whole") == ("ade20k" in layout) and loaded.inference.unaligned == "stretch"


def test_the_run_predicts_as_the_model(ftw: GSS, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "official.pth", official_weights(ftw))
    assert convert(checkpoint, FTW, tmp_path / "run") == 0
    loaded = gss.load(tmp_path / "run")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1, 3, 22, 30), dtype=torch.uint8, generator=generator)
    tokens = torch.randint(0, 7, (1, 4, 5), generator=generator)
    with torch.no_grad():
        got, wanted = (model.trunk(model.encoder(images))[1] for model in (loaded, ftw))
        logits, expected = (model.class_scores(model.tokenizer.decode(tokens), (16, 20)) for model in (loaded, ftw))
        assert torch.equal(loaded(images).labels, ftw(images).labels)
    assert torch.equal(got, wanted) and wanted.std() > 0.1
    assert torch.equal(logits, expected) and expected.std(dim=(2, 3)).min() > 0.001


def test_names_and_tensors_go_both_ways(ff: GSS) -> None:
    state = ff.state_dict()
    names = official_names(state)
    order = (2, 0, 3, 1)
    assert official_names(state, order) != names
    official = to_official(state, official_names(state, order), order)
    fusion = official["decode_head.fusion_conv.conv.weight"]
    # The first block of the official fusion reads its first level, our third.
    assert torch.equal(fusion[:, :3], state["trunk.aggregate.fusion.0.weight"][:, 6:9])
    assert torch.equal(official["decode_head.convs.0.conv.weight"], state["trunk.aggregate.levels.2.0.weight"])
    assert_same_weights(convert_official(official, RECIPE, in_index=order), ff)


def test_conversion_shares_no_memory(weights: dict[str, Tensor], ff: GSS) -> None:
    model = convert_official(weights, RECIPE)
    for value in weights.values():
        value.zero_()
    assert_same_weights(model, ff)
    assert not model.training


def test_counters_and_indices_may_be_missing(weights: dict[str, Tensor], ff: GSS) -> None:
    optional = (".num_batches_tracked", ".relative_position_index")
    assert_same_weights(convert_official({k: v for k, v in weights.items() if not k.endswith(optional)}, RECIPE), ff)


def test_half_precision_becomes_float32(weights: dict[str, Tensor]) -> None:
    model = convert_official({k: v.half() if v.is_floating_point() else v for k, v in weights.items()}, RECIPE)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32, torch.int64}


def test_every_problem_is_listed(weights: dict[str, Tensor]) -> None:
    del weights["backbone.norm2.bias"], weights["decode_head.swin_ln.weight"]
    weights["decode_head.conv_seg.weights"] = torch.ones(1)
    weights["decode_head.d_vae.decoder.blocks.input.b"] = torch.ones(9)
    weights["decode_head.conv_seg.bias"] = torch.ones(7, dtype=torch.int64)
    with pytest.raises(ValueError) as caught:
        convert_official(weights, RECIPE)
    assert str(caught.value) == (
        "the checkpoint does not fit the recipe small official-cityscapes-ff-swin-l: "
        "2 missing: backbone.norm2.bias, decode_head.swin_ln.weight; "
        "1 unexpected: decode_head.conv_seg.weights; "
        "1 of another shape: decode_head.d_vae.decoder.blocks.input.b (9,) instead of (6,); "
        "1 no floating numbers: decode_head.conv_seg.bias (torch.int64)"
    )


def test_another_order_of_relative_positions_is_refused(weights: dict[str, Tensor]) -> None:
    name = "decode_head.transformer_block.blocks.1.attn.w_msa.relative_position_index"
    weights[name] = weights[name].flip(0)
    with pytest.raises(ValueError, match=f"1 with another order of relative positions: {name}"):
        convert_official(weights, RECIPE)


def test_merge(weights: dict[str, Tensor], ff: GSS, ftw: GSS, tmp_path: Path) -> None:
    """X^-1 comes from GSS-FT-W, all that both have from GSS-FF, whose dVAE is the same."""
    inverse = {k: v for k, v in official_weights(ftw).items() if ".d_vae." not in k}
    paths = [save_checkpoint(tmp_path / f"{n}.pth", w) for n, w in (("ff", weights), ("ftw", inverse))]
    run = tmp_path / "run"
    assert (
        main(
            [
                "convert",
                str(paths[0]),
                "--inverse",
                str(paths[1]),
                "--recipe",
                recipe_file(FTW, tmp_path),
                "--out",
                str(run),
            ]
        )
        == 0
    )
    loaded = gss.load(run).state_dict()
    for name in official_names(loaded):
        source = ftw if name.startswith("inverse.") else ff
        assert torch.equal(loaded[name], source.state_dict()[name]), name
    # A file that was merged before is the same model.
    merged = merge_official(weights, inverse)
    reasons = left_out(merged)
    pixel = [name for name in merged if "_pixel." in name]
    assert len(pixel) > 0 and reasons["serve the training of GSS-FF only"] == pixel
    assert all(
        torch.equal(value, loaded[name]) for name, value in convert_official(merged, RECIPE_FTW).state_dict().items()
    )


def test_merge_over_backbones(ftw: GSS) -> None:
    """X^-1 sees only maskiges. A trunk of another depth stays what it is."""
    other = official_weights(small_model("gss-ff_r_cityscapes"))
    inverse = {k: v for k, v in official_weights(ftw).items() if ".d_vae." not in k}
    recipe = small_recipe("gss-ft-w_r_cityscapes")
    model = convert_official(merge_official(other, inverse), recipe)
    assert len(model.trunk.blocks) == 3 and model.inverse is not None
    shallow = {k: v for k, v in official_weights(small_model("gss-ft-w_r_cityscapes")).items() if ".d_vae." not in k}
    merged = merge_official(official_weights(small_model(FF)), shallow)
    assert len(convert_official(merged, RECIPE_FTW).trunk.blocks) == 2


def test_what_cannot_be_merged(weights: dict[str, Tensor], ftw: GSS) -> None:
    inverse = official_weights(ftw)
    with pytest.raises(ValueError, match="dVAE differs .* in decode_head.d_vae.encoder.blocks.input.w"):
        merge_official(weights, inverse)
    with pytest.raises(ValueError, match="ftw: expected a checkpoint of GSS-FT-W"):
        merge_official(weights, weights)
    with pytest.raises(ValueError, match="ff: expected a checkpoint of GSS-FF, got one that has an X"):
        merge_official(inverse, inverse)
    with pytest.raises(ValueError, match="different numbers of classes: .*19.*150"):
        merge_official(weights, official_weights(small_model("gss-ft-w_swin_ade20k")))


def test_dvae_from_its_own_files(weights: dict[str, Tensor], ff: GSS, tmp_path: Path) -> None:
    for part in ("encoder", "decoder"):
        own = {official_name(f"{part}.{k}").removeprefix(f"{part}."): v
               for k, v in getattr(ff.tokenizer, part).state_dict().items()}  # fmt: skip
        torch.save(own, tmp_path / f"{part}.pkl")
    without = save_checkpoint(tmp_path / "without.pth", {k: v for k, v in weights.items() if ".d_vae." not in k})
    whole = save_checkpoint(tmp_path / "with.pth", weights)
    for checkpoint in (without, whole):
        run = tmp_path / f"run {checkpoint.stem}"
        assert (
            main(
                [
                    "convert",
                    str(checkpoint),
                    "--dalle",
                    str(tmp_path),
                    "--recipe",
                    recipe_file(FF, tmp_path),
                    "--out",
                    str(run),
                ]
            )
            == 0
        )
        assert_same_weights(gss.load(run), ff)  # type: ignore[arg-type]
    weights["decode_head.d_vae.decoder.blocks.output.conv.b"] += 1
    with pytest.raises(ValueError, match="differ from those in the checkpoint, .*decoder.blocks.output.conv.b"):
        with_dalle(weights, ff.tokenizer)


def test_another_palette(weights: dict[str, Tensor], tmp_path: Path) -> None:
    colors = [[k, 255 - k, 7 * k % 256] for k in range(19)]
    (tmp_path / "own.json").write_text(json.dumps({"name": "own", "colors": colors}))
    checkpoint = save_checkpoint(tmp_path / "official.pth", weights)
    assert convert(checkpoint, FF, tmp_path / "run", "--palette", str(tmp_path / "own.json")) == 0
    assert [list(color) for color in gss.load(tmp_path / "run").palette.colors] == colors


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("a run is there", "holds a run already"),
        ("no dVAE", "has no dVAE; give its published files"),
        ("unknown number of classes", "no official model has 5 classes, backbone swin"),
        ("a recipe of other sizes", "does not fit the recipe official-cityscapes-ff-r101"),
        ("palette of other classes", "does not fit the recipe small official-cityscapes-ff-swin-l"),
        ("no weights", "expected names that start with decode_head."),
        ("no tensors", "expected a state dict of tensors, got int for decode_head.x"),
        ("no checkpoint", "not a readable torch checkpoint"),
        ("no file", "No such file"),
    ],
)
def test_what_is_refused_leaves_no_run(
    problem: str, message: str, weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, path, options = tmp_path / "run", tmp_path / "official.pth", []
    if problem == "a run is there":
        run.mkdir()
        (run / "config.json").write_text("{}")
    elif problem == "no dVAE":
        weights = {k: v for k, v in weights.items() if ".d_vae." not in k}
    elif problem == "unknown number of classes":
        weights |= {k: v[:5] for k, v in weights.items() if "conv_seg_pixel" in k}
    elif problem == "palette of other classes":
        options = ["--palette", "ade20k", "--recipe", recipe_file(FF, tmp_path)]
    elif problem == "a recipe of other sizes":
        options = ["--recipe", "official-cityscapes-ff-r101"]
    elif problem == "no weights":
        weights = {"model.weight": torch.ones(1)}
    save_checkpoint(path, weights)
    if problem == "no tensors":
        torch.save({"state_dict": {"decode_head.x": 1}}, path)
    elif problem == "no checkpoint":
        path.write_bytes(b"\x80\x04K\x01.")
    elif problem == "no file":
        path.unlink()
    before = sorted(run.rglob("*"))
    assert main(["convert", str(path), "--out", str(run), *options]) == 1
    assert message in capsys.readouterr().err
    assert sorted(run.rglob("*")) == before


def test_a_bare_state_dict_is_enough(weights: dict[str, Tensor]) -> None:
    assert official_state(weights) is weights
    assert official_state({"state_dict": weights, "meta": None}) is weights
    with pytest.raises(ValueError, match="a mapping of names to tensors, got list"):
        official_state([weights])
