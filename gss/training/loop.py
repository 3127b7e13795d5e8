"""The training loop of one stage.

Every step is a pure function of the weights before it and of (seed, step): batches and augmentation come from
`sampling`, the learning rate from `schedule`, and the global random generator is reseeded before each step. A run that
is killed and resumed therefore repeats the uninterrupted run bit by bit on one CPU machine (on a GPU up to the
nondeterminism of its kernels), and no generator state has to be saved.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn

from gss.config import StageConfig
from gss.training.checkpoint import load_weights, restoring, save_weights
from gss.training.interrupt import InterruptFlag
from gss.training.outcome import StageResult, TrainingInterrupted
from gss.training.progress import Progress
from gss.training.resume import check_stage, final_weights, has_begun, stage_folder, stage_identity
from gss.training.sampling import SampleDataset, derive_seed
from gss.training.stage_run import StageRun


def train_stage(
    name: str,
    module: nn.Module,
    dataset: SampleDataset,
    config: StageConfig,
    run_dir: Path | str,
    *,
    seed: int,
    resume: bool = True,
    progress: Progress | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> StageResult:
    """Train `module` for `config.steps` optimiser steps, or what is left of them.

    Args:
        name: of the stage; its files go to `run_dir/checkpoints/name/`, its lines to `run_dir/metrics.jsonl`.
        module: `module(batch)` returns a dict of scalar tensors with "loss"; the others are logged. If it defines
            `after_step()`, that is called after every optimiser step, before the EMA takes the weights. If it has
            `channels_last = True`, its weights are laid out that way. `train()` is called on it: a frozen part that
            has to stay in eval mode overrides `train`.
        dataset: `sample(index, generator)`; all randomness from the generator. Called from background threads.
        config: `batch_size` is the micro-batch over all processes; a step averages the loss of
            `gradient_accumulation` of them.
        seed: of data order, augmentation and dropout. Initial weights are the caller's.
        resume: continue from the newest checkpoint; a finished stage is loaded and skipped. With False, a stage that
            already has files is refused.
        progress: where to show progress; standard error by default.
        inputs: sections of JSON values, what else decides the numbers (the model's settings, the data). Checkpoints
            record them, and a stage is not continued under others.

    Returns:
        StageResult; `module` holds the final weights (the EMA weights if `config.ema_decay > 0`), in eval mode, on the
        training device. The global torch generator is left in a state that depends on (seed, name) only.

    Raises:
        TrainingDiverged, TrainingInterrupted, ResumeMismatch (a ValueError), CheckpointError.
        FileExistsError: if `resume` is False and the stage has files.
        ValueError: if the dataset is smaller than a step, nothing is trainable, the module returns no "loss", or
            fp16 is asked of a CPU.
    """
    run_dir = Path(run_dir)
    folder = stage_folder(run_dir, name)
    final = final_weights(folder)
    # accelerate keeps one precision a process; stages may differ
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    check_precision(config.mixed_precision, accelerator.device)
    identity = stage_identity(
        name, config, seed=seed, samples=len(dataset), processes=accelerator.num_processes, inputs=inputs
    )
    if not resume and has_begun(folder):
        raise FileExistsError(f"{folder} already holds a trained stage: resume it, or choose a new run directory")
    finished_steps = check_stage(folder, identity)

    module.to(accelerator.device)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        # a few crops a GPU are too few for batch statistics of their own
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if getattr(module, "channels_last", False):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if finished_steps == config.steps:
        with restoring(final):
            module.load_state_dict(load_weights(final)[0])
        return _finish(StageResult(name, config.steps, final, skipped=True), module, seed)

    stage = StageRun(name, module, config, seed, accelerator, folder, identity)
    start = stage.restore()
    began = time.monotonic()
    if progress is None:
        progress = Progress()
    progress.enabled = progress.enabled and accelerator.is_main_process
    with InterruptFlag() as interrupt:
        try:
            values = stage.run(dataset, start, run_dir / "metrics.jsonl", progress, interrupt)
        finally:
            # removes what accelerate wrapped around the forward, also after an interruption
            accelerator.unwrap_model(stage.model, keep_fp32_wrapper=False)
            accelerator.free_memory()
        stage.use_averaged_weights()
        if accelerator.is_main_process:
            save_weights(final, module.state_dict(), {"identity": json.dumps(identity)})
        accelerator.wait_for_everyone()
        # a signal during the last step or the last save: the stage is whole, but its caller is to stop
        if stage.agree(interrupt.requested):
            raise TrainingInterrupted(name, config.steps, config.steps, final)
    result = StageResult(name, config.steps, final, seconds=time.monotonic() - began, values=values)
    return _finish(result, module, seed)


def check_precision(mixed_precision: str, device: torch.device) -> None:
    """Raises ValueError for fp16 on a CPU, which accelerate would train in float32 without a word."""
    if mixed_precision == "fp16" and device.type == "cpu":
        raise ValueError('mixed_precision: "fp16" needs a GPU, and training runs on the CPU; "bf16" and "no" work here')


def _finish(result: StageResult, module: nn.Module, seed: int) -> StageResult:
    # whatever is initialised next must not depend on whether this stage ran, resumed or was skipped
    torch.manual_seed(derive_seed(seed, result.stage, "end"))
    module.eval()
    return result
