"""Published VQGAN weights as a `VqganTokenizer`, from either of their two layouts.

"taming": checkpoints of taming-transformers and latent-diffusion, `down.0.block.1...`, without the parts that serve
training. "diffusers": a folder with config.json and the weights of a `VQModel`, `down_blocks.0.resnets.1...`. Both hold
the same network. Its sizes follow from the shapes, but for the groups of the normalisations: 32, or as in config.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gss.config import VqganConfig
from gss.convert.state_dict import fit, state_dict_of
from gss.io.checkpoints import read_checkpoint
from gss.io.files import PathLike
from gss.model.tokenizers.vqgan import VqganTokenizer

Layout = Literal["taming", "diffusers"]

DIFFUSERS_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")

# Serve training or display: losses, averages of weights, colours of label maps, counts of an EMA codebook.
_LEFT_OUT = ("loss.", "model_ema.", "colorize", "quantize.embedding.cluster_size", "quantize.embedding.embed_avg")

# Part of a name here -> the same part in each layout. `official_name` numbers the levels.
_PARTS: dict[Layout, tuple[tuple[str, str], ...]] = {
    "taming": (
        (r"^(encoder|decoder)\.input\.", r"\1.conv_in."),
        (r"^(encoder|decoder)\.norm\.", r"\1.norm_out."),
        (r"^(encoder|decoder)\.output\.", r"\1.conv_out."),
        (r"\.middle\.first\.", ".mid.block_1."),
        (r"\.middle\.attention\.", ".mid.attn_1."),
        (r"\.middle\.second\.", ".mid.block_2."),
        (r"\.blocks\.", ".block."),
        (r"\.attentions\.", ".attn."),
        (r"\.shortcut\.", ".nin_shortcut."),
        (r"\.query\.", ".q."),
        (r"\.key\.", ".k."),
        (r"\.value\.", ".v."),
        (r"(attn[._]\d+)\.output\.", r"\1.proj_out."),
        (r"^(encoder\..*)\.resample\.", r"\1.downsample."),
        (r"^(decoder\..*)\.resample\.", r"\1.upsample."),
    ),
    "diffusers": (
        (r"^(encoder|decoder)\.input\.", r"\1.conv_in."),
        (r"^(encoder|decoder)\.norm\.", r"\1.conv_norm_out."),
        (r"^(encoder|decoder)\.output\.", r"\1.conv_out."),
        (r"\.middle\.first\.", ".mid_block.resnets.0."),
        (r"\.middle\.attention\.", ".mid_block.attentions.0."),
        (r"\.middle\.second\.", ".mid_block.resnets.1."),
        (r"\.blocks\.", ".resnets."),
        (r"\.shortcut\.", ".conv_shortcut."),
        (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
        (r"\.query\.", ".to_q."),
        (r"\.key\.", ".to_k."),
        (r"\.value\.", ".to_v."),
        (r"(attentions\.\d+)\.output\.", r"\1.to_out.0."),
        (r"^(encoder\..*)\.resample\.", r"\1.downsamplers.0."),
        (r"^(decoder\..*)\.resample\.", r"\1.upsamplers.0."),
    ),
}
_TOP = {"codebook": "quantize.embedding.weight", "to_codes": "quant_conv", "from_codes": "post_quant_conv"}
# Names of the parts of attention in older files of diffusers.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_vqgan(path: PathLike) -> VqganTokenizer:
    """The VQGAN in a checkpoint of either layout, a safetensors file, or the folder of a diffusers `VQModel`.

    Raises:
        ValueError: the file is damaged, holds anything else, or does not fit; nothing in it is executed.
        OSError: a file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        file = next((path / name for name in DIFFUSERS_FILES if (path / name).is_file()), None)
        if file is None:
            raise FileNotFoundError(f"{path}: expected {' or '.join(DIFFUSERS_FILES)} in the folder of a VQModel")
    else:
        file = path
    content = _safetensors(file) if file.suffix == ".safetensors" else read_checkpoint(file)
    settings = file.parent / "config.json"
    try:
        state = state_dict_of(content)
        described = layout_of(state) == "diffusers" and settings.is_file()
        return vqgan_from_state(state, groups=diffusers_groups(settings) if described else 32)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def vqgan_from_state(state: Mapping[str, Tensor], *, groups: int = 32) -> VqganTokenizer:
    """The VQGAN with the weights of a state dict in either layout, sizes by their shapes.

    The result is frozen, in evaluation mode, float32, and shares no memory with `state`.

    Raises:
        ValueError: another kind of model or quantiser; weights that are missing, unexpected or of another shape.
    """
    layout = layout_of(state)
    given = {key: value for key, value in state.items() if not key.startswith(_LEFT_OUT)}
    if layout == "diffusers":
        given = {_new_attention(key): value for key, value in given.items()}
    config = vqgan_config(given, layout, groups)
    with torch.device("meta"):
        tokenizer = VqganTokenizer(config)
    levels = len(config.channels)
    names = {name: official_name(name, layout, levels) for name in tokenizer.state_dict()}
    if layout == "taming":
        # Attention is made of 1x1 convolutions there, and of linear layers here.
        for name, theirs in names.items():
            if ".attention" in name and theirs in given and given[theirs].ndim == 4:
                given[theirs] = given[theirs].flatten(1)
    fit(given, names, tokenizer, "VQGAN")
    return tokenizer


def layout_of(state: Mapping[str, Tensor]) -> Layout:
    """The layout of the names.

    Raises ValueError for another layout, and for quantisers whose tokens are not the nearest rows of a codebook.
    """
    if "quantize.embed.weight" in state:
        raise ValueError("a Gumbel-softmax quantiser (quantize.embed); expected quantize.embedding, nearest codes")
    if "quantize.used" in state:
        raise ValueError("a codebook with remapped tokens (quantize.used); expected all of its codes in their order")
    if any(name.startswith("encoder.down.") for name in state):
        return "taming"
    if any(name.startswith("encoder.down_blocks.") for name in state):
        return "diffusers"
    raise ValueError("no VQGAN: expected names that start with encoder.down. or encoder.down_blocks.")


def vqgan_config(state: Mapping[str, Tensor], layout: Layout, groups: int = 32) -> VqganConfig:
    """Sizes of the model with these weights. Raises ValueError where one that decides them is missing."""

    def key(name: str) -> str:
        return official_name(name, layout, 1)

    def shape(name: str, dimensions: int) -> torch.Size:
        if key(name) not in state:
            raise ValueError(f"VQGAN weights do not fit: missing {key(name)}")
        found = state[key(name)].shape
        if len(found) != dimensions:
            raise ValueError(f"VQGAN weights do not fit: {key(name)} has shape {tuple(found)}, "
                             f"expected {dimensions} sizes")  # fmt: skip
        return found

    def counted(template: str) -> int:
        count = 0
        while key(template.format(count)) in state:
            count += 1
        return count

    codes, code_dim = shape("codebook", 2)
    levels = counted("encoder.levels.{}.blocks.0.conv1.weight")
    return VqganConfig(
        codes=codes,
        code_dim=code_dim,
        channels=tuple(shape(f"encoder.levels.{level}.blocks.0.conv1.weight", 4)[0] for level in range(levels)),
        blocks=max(counted("encoder.levels.0.blocks.{}.conv1.weight"), 1),
        attention_levels=tuple(
            level for level in range(levels) if key(f"encoder.levels.{level}.attentions.0.query.weight") in state
        ),
        middle_attention=key("encoder.middle.attention.query.weight") in state,
        latent_channels=shape("encoder.output.weight", 4)[0],
        groups=groups,
    )


def official_name(name: str, layout: Layout, levels: int) -> str:
    """The key in a layout of a weight of `VqganTokenizer` with so many levels.

    encoder.levels.0.blocks.1.conv1.weight -> encoder.down.0.block.1.conv1.weight in "taming",
    encoder.down_blocks.0.resnets.1.conv1.weight in "diffusers".
    """
    top, *rest = name.split(".")
    if top in _TOP:
        return ".".join([_TOP[top], *rest])
    for pattern, replacement in _PARTS[layout]:
        name = re.sub(pattern, replacement, name)

    def number(match: re.Match[str]) -> str:
        level = int(match[2])
        if layout == "diffusers":
            return f"{match[1]}.{'down' if match[1] == 'encoder' else 'up'}_blocks.{level}."
        # The decoder's levels are counted from the finest there, though they run from the coarsest.
        return f"encoder.down.{level}." if match[1] == "encoder" else f"decoder.up.{levels - 1 - level}."

    return re.sub(r"^(encoder|decoder)\.levels\.(\d+)\.", number, name)


def diffusers_groups(path: PathLike) -> int:
    """The groups of each normalisation by the config.json of a `VQModel`.

    Raises ValueError for another class, and for settings that are not supported.
    """
    try:
        settings: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{path}: no JSON: {error}") from error
    if not isinstance(settings, dict) or settings.get("_class_name", "VQModel") != "VQModel":
        raise ValueError(f"{path}: expected the configuration of a VQModel")
    expected = {"norm_type": "group", "act_fn": "silu", "in_channels": 3, "out_channels": 3}
    for key, value in expected.items():
        if settings.get(key, value) != value:
            raise ValueError(f"{path}: {key}: expected {value!r}, the only value built here, got {settings[key]!r}")
    groups = settings.get("norm_num_groups", 32)
    if type(groups) is not int or groups < 1:
        raise ValueError(f"{path}: norm_num_groups: expected a whole number of at least 1, got {groups!r}")
    return groups


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a readable safetensors file: {error}") from error


def _new_attention(key: str) -> str:
    def rename(match: re.Match[str]) -> str:
        return f"{match[1]}.{_OLD_ATTENTION[match[2]]}."

    return re.sub(rf"(attentions\.\d+)\.({'|'.join(_OLD_ATTENTION)})\.", rename, key)
