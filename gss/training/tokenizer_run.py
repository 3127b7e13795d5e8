"""Stage 1 on its own: a maskige tokenizer from label maps, without a model around it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from gss.config import CompactConfig, Recipe
from gss.convert.tokenizers import read_tokenizer
from gss.data.sources.layouts import detect_label_layout
from gss.model.codec import MaskigeCodec
from gss.model.loading import save_codec
from gss.model.tokenizers.protocol import build_tokenizer
from gss.training.data import find_training_data
from gss.training.plan import check_run, check_trainable, holds_run, plan_stages, stage_weights
from gss.training.run import begin_run, run_stage
from gss.training.sampling import derive_seed
from gss.training.stages import TokenizerTraining


def train_tokenizer(
    recipe: Recipe,
    data_dir: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    resume: bool = False,
    *,
    layout: str | None = None,
    lists: str | os.PathLike[str] | None = None,
    check: bool = True,
) -> Path:
    """Train the tokenizer of `recipe` on the label maps of a train split, and leave a run folder, which is returned.

    The tokenizer is that of `gss.training.run.train` on the same data, bit by bit; images are not needed. The folder
    holds what `gss.model.loading.load_codec` reads, recipe.yaml, versions.json, metrics.jsonl and checkpoints/.

    Args:
        layout: as in `train`, and "labels" for annotations without images, which is the default where there are none.

    Raises what `train` raises, and ValueError for a recipe whose tokenizer is never trained here.
    """
    run, root = Path(run_dir), Path(data_dir)
    config = recipe.tokenizer
    if recipe.model != "gss" or not isinstance(config, CompactConfig):
        got = recipe.model if recipe.model != "gss" else config.type
        raise ValueError(f"recipe: expected a generative model with tokenizer.type 'compact' to train, got {got!r}")
    recipe = replace(recipe, stages=("tokenizer",))
    if not resume and holds_run(run):
        raise FileExistsError(f"{run}: holds a run already; go on with --resume, or choose another folder")
    layout = layout or detect_label_layout(root)
    data = find_training_data(recipe, root, layout, None if lists is None else Path(lists), check)
    (stage,) = plan_stages(recipe, data)
    process = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    check_trainable(recipe, [stage], data, process.device, process.num_processes)
    check_run(run, recipe, [stage], len(data.names))
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    codec = MaskigeCodec(data.palette, build_tokenizer(config))
    if recipe.tokenizer_weights is not None:
        source = read_tokenizer(config, recipe.tokenizer_weights)
        codec.tokenizer.load_state_dict(source.state_dict())

    if process.is_main_process:
        begin_run(run, recipe)
    module = TokenizerTraining(codec, stage_weights(recipe, stage.name, data))
    run_stage(stage.name, module, stage.config, recipe, data, run, resume, stage.inputs)
    if process.is_main_process:
        save_codec(codec, run)
    return run
