"""VQGAN weights in both layouts, compared with a reimplementation that works on the state dicts themselves."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from gss.config import CompactConfig, DalleConfig, VqganConfig
from gss.convert.tokenizers import read_tokenizer
from gss.convert.vqgan import official_name, read_vqgan, vqgan_from_state
from gss.model.tokenizers.vqgan import VqganTokenizer

from .vqgan_reference import Sizes, checkpoint, decode, encode

LAYOUTS = ("taming", "diffusers")
CONFIG = VqganConfig(
    codes=24, code_dim=5, channels=(8, 8, 16), blocks=2, attention_levels=(2,), latent_channels=6, groups=4
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(),
        Sizes(channels=(8, 16), attention=(0, 1), blocks=1),
        Sizes(channels=(8, 8, 8, 16), attention=(), blocks=1, middle_attention=False),
        Sizes(channels=(12,), attention=(), blocks=3),
    ],
)
def test_outputs_are_those_of_the_reimplementation(layout: str, sizes: Sizes) -> None:
    weights = checkpoint(layout, sizes)
    tokenizer = vqgan_from_state(weights.state, groups=4)
    assert tokenizer.config == VqganConfig(
        codes=24,
        code_dim=5,
        channels=sizes.channels,
        blocks=sizes.blocks,
        attention_levels=sizes.attention,
        middle_attention=sizes.middle_attention,
        latent_channels=6,
        groups=4,
    )
    maskige = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    vectors, tokens = encode(weights, maskige)
    torch.testing.assert_close(tokenizer.encode_vectors(maskige), vectors, atol=2e-5, rtol=1e-5)
    assert torch.equal(tokenizer.encode(maskige), tokens)
    painted = decode(weights, tokens)
    torch.testing.assert_close(tokenizer.decode(tokens), painted, atol=2e-5, rtol=1e-5)
    assert len(tokens.unique()) > 3 and painted.std() > 0.05


def test_the_same_weights_in_both_layouts_give_the_same_tokenizer() -> None:
    taming, diffusers = (checkpoint(layout) for layout in LAYOUTS)
    assert len(taming.state) == len(diffusers.state) and taming.state.keys() != diffusers.state.keys()
    one, other = (vqgan_from_state(weights.state, groups=4) for weights in (taming, diffusers))
    assert one.config == other.config == CONFIG
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    maskige = torch.rand(1, 3, 20, 12, generator=torch.Generator().manual_seed(2))
    assert torch.equal(one.encode(maskige), other.encode(maskige))
    assert torch.equal(one(maskige)[0], other(maskige)[0])


def test_names_of_both_layouts() -> None:
    names = {
        "encoder.levels.1.blocks.0.shortcut.weight": (
            "encoder.down.1.block.0.nin_shortcut.weight",
            "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
        ),
        "encoder.levels.0.resample.conv.bias": (
            "encoder.down.0.downsample.conv.bias",
            "encoder.down_blocks.0.downsamplers.0.conv.bias",
        ),
        "decoder.levels.0.attentions.2.output.weight": (
            "decoder.up.4.attn.2.proj_out.weight",
            "decoder.up_blocks.0.attentions.2.to_out.0.weight",
        ),
        "decoder.middle.attention.norm.weight": (
            "decoder.mid.attn_1.norm.weight",
            "decoder.mid_block.attentions.0.group_norm.weight",
        ),
        "encoder.norm.bias": ("encoder.norm_out.bias", "encoder.conv_norm_out.bias"),
        "codebook": ("quantize.embedding.weight", "quantize.embedding.weight"),
        "from_codes.weight": ("post_quant_conv.weight", "post_quant_conv.weight"),
    }
    for name, expected in names.items():
        assert tuple(official_name(name, layout, 5) for layout in LAYOUTS) == expected


def test_the_published_sizes_have_a_name_for_every_weight() -> None:
    """16 pixels a token, 16384 codes: 457 tensors, no two of one name."""
    with torch.device("meta"):
        names = list(VqganTokenizer().state_dict())
    for layout in LAYOUTS:
        assert len({official_name(name, layout, 5) for name in names}) == len(names)


def test_what_trained_the_model_is_left_out_and_old_attention_is_renamed() -> None:
    weights = checkpoint("taming")
    extra = {
        "loss.discriminator.main.0.weight": torch.ones(3),
        "model_ema.decay": torch.ones(()),
        "quantize.embedding.cluster_size": torch.ones(24),
        "colorize": torch.ones(3, 5, 1, 1),
    }
    wanted = vqgan_from_state(weights.state, groups=4).state_dict()
    got = vqgan_from_state(weights.state | extra, groups=4).state_dict()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)

    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for key, value in checkpoint("diffusers").state.items():
        for new, before in old.items():
            key = key.replace(f".{new}.", f".{before}.")
        renamed[key] = value
    assert any(".proj_attn." in key for key in renamed)
    got = vqgan_from_state(renamed, groups=4).state_dict()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


def test_conversion_copies_and_freezes() -> None:
    state = {key: value.half() for key, value in checkpoint("taming").state.items()}
    tokenizer = vqgan_from_state(state, groups=4)
    assert not tokenizer.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in tokenizer.parameters())
    state["quantize.embedding.weight"].zero_()
    assert tokenizer.codebook.abs().sum() > 0


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class of the name under which PyTorch Lightning keeps what its callbacks remember."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    for package in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    kind = type("ModelCheckpoint", (), {"__module__": name})
    sys.modules[name].ModelCheckpoint = kind  # type: ignore[attr-defined]
    return kind


def test_lightning_checkpoints_are_read_without_lightning(
    tmp_path: Path, lightning: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = checkpoint("taming", Sizes(channels=(32, 64), attention=(1,), groups=32))
    file = tmp_path / "last.ckpt"
    callbacks = {lightning: {"best_model_score": torch.tensor(0.5), "best_model_path": "epoch=3.ckpt"}}
    torch.save({"epoch": 3, "callbacks": callbacks, "state_dict": weights.state}, file)
    monkeypatch.delitem(sys.modules, lightning.__module__)
    tokenizer = read_vqgan(file)
    assert tokenizer.config.channels == (32, 64) and tokenizer.config.groups == 32
    maskige = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(tokenizer.encode(maskige), encode(weights, maskige)[1])


def diffusers_folder(folder: Path, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(checkpoint("diffusers").state, folder / "diffusion_pytorch_model.safetensors")
    settings = {"_class_name": "VQModel", "norm_num_groups": 4, "act_fn": "silu", "norm_type": "group", **changes}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def test_a_diffusers_folder_and_its_files(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path / "vqvae")
    wanted = vqgan_from_state(checkpoint("diffusers").state, groups=4)
    for path in (folder, folder / "diffusion_pytorch_model.safetensors"):
        got = read_vqgan(path)
        assert got.config == wanted.config
        assert all(torch.equal(got.state_dict()[name], value) for name, value in wanted.state_dict().items())
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected diffusion_pytorch_model.safetensors or .*\.bin"):
        read_vqgan(folder)
    torch.save(checkpoint("diffusers").state, folder / "diffusion_pytorch_model.bin")
    assert torch.equal(read_vqgan(folder).codebook, wanted.codebook)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_type": "spatial"}, "norm_type: expected 'group', .*, got 'spatial'"),
        ({"act_fn": "relu"}, "act_fn: expected 'silu'"),
        ({"_class_name": "AutoencoderKL"}, "expected the configuration of a VQModel"),
        ({"norm_num_groups": "four"}, "norm_num_groups: expected a whole number"),
        ({"norm_num_groups": 32}, r"channels: expected multiples of groups \(32\), got \[8, 8, 16\]"),
    ],
)
def test_settings_that_are_not_built_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_vqgan(diffusers_folder(tmp_path / "vqvae", **changes))


def test_other_models_are_refused_by_name() -> None:
    state = checkpoint("taming").state
    with pytest.raises(ValueError, match="a Gumbel-softmax quantiser"):
        vqgan_from_state(state | {"quantize.embed.weight": torch.ones(24, 5)})
    with pytest.raises(ValueError, match="remapped tokens"):
        vqgan_from_state(state | {"quantize.used": torch.ones(3)})
    with pytest.raises(ValueError, match=r"no VQGAN: expected names that start with encoder\.down\."):
        vqgan_from_state({"weight": torch.ones(3)})
    without = {key: value for key, value in state.items() if key != "quantize.embedding.weight"}
    with pytest.raises(ValueError, match=r"missing quantize\.embedding\.weight"):
        vqgan_from_state(without)


def test_every_problem_is_listed() -> None:
    state = dict(checkpoint("taming").state)
    del state["decoder.up.1.block.0.norm2.bias"]
    state["decoder.mid.attn_1.q.weight"] = torch.ones(16, 16, 3, 3)
    state["decoder.up.0.attn.0.q.weight"] = torch.ones(8, 8, 1, 1)
    state["encoder.conv_out.bias"] = torch.ones(6, dtype=torch.int64)
    with pytest.raises(ValueError) as error:
        vqgan_from_state(state, groups=4)
    for problem in (
        "VQGAN weights do not fit: ",
        "1 missing: decoder.up.1.block.0.norm2.bias",
        "1 unexpected: decoder.up.0.attn.0.q.weight",
        "1 of another shape: decoder.mid.attn_1.q.weight (16, 144) instead of (16, 16)",
        "1 no floating numbers: encoder.conv_out.bias (torch.int64)",
    ):
        assert problem in str(error.value)


def test_names_that_a_terminal_would_obey_are_refused(tmp_path: Path) -> None:
    torch.save({"encoder.down.\x1b[2J": torch.ones(2)}, tmp_path / "file.ckpt")
    with pytest.raises(ValueError, match="names of at most 200 printable characters"):
        read_vqgan(tmp_path / "file.ckpt")


@pytest.mark.parametrize("name", ["file.ckpt", "file.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=str(tmp_path / name)):
        read_vqgan(tmp_path / name)


def test_read_tokenizer_wants_the_configured_sizes(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path / "vqvae")
    tokenizer = read_tokenizer(CONFIG, folder)
    assert isinstance(tokenizer, VqganTokenizer) and asdict(tokenizer.config) == asdict(CONFIG)
    with pytest.raises(ValueError, match="another tokenizer than configured: codes 24, expected 25; blocks 2, expec"):
        read_tokenizer(replace(CONFIG, codes=25, blocks=3), folder)
    with pytest.raises(FileNotFoundError, match=r"encoder\.pkl"):
        read_tokenizer(DalleConfig(), folder)
    with pytest.raises(FileNotFoundError, match="no model"):
        read_tokenizer(CompactConfig(), folder)
