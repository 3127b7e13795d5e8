"""The training loop of one stage.

Every step is a pure function of the weights before it and of (seed, step): batches and augmentation come from
`sampling`, the learning rate from `schedule`, and the global random generator is reseeded before each step. A run that
is killed and resumed therefore repeats the uninterrupted run bit by bit on one CPU machine (on a GPU up to the
nondeterminism of its kernels), and no generator state has to be saved.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gss.config import StageConfig
from gss.training.checkpoint import (
    CheckpointError,
    checkpoint_path,
    list_checkpoints,
    load_latest_checkpoint,
    load_weights,
    remove_temporary_files,
    save_checkpoint,
    save_weights,
)
from gss.training.interrupt import InterruptFlag
from gss.training.metrics_log import MetricsLog
from gss.training.outcome import StageResult, TrainingDiverged, TrainingInterrupted
from gss.training.parameter_groups import parameter_groups
from gss.training.progress import Progress, StepClock
from gss.training.resume import check_resumable, stage_identity
from gss.training.sampling import BatchSource, SampleDataset, derive_seed
from gss.training.schedule import learning_rate_at


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

    Returns:
        StageResult; `module` holds the final weights (the EMA weights if `config.ema_decay > 0`), in eval mode, on the
        training device. The global torch generator is left in a state that depends on (seed, name) only.

    Raises:
        TrainingDiverged, TrainingInterrupted, ResumeMismatch (a ValueError), CheckpointError.
        FileExistsError: if `resume` is False and the stage has files.
        ValueError: if the dataset is smaller than a step, nothing is trainable, or the module returns no "loss".
    """
    for setting in ("steps", "checkpoint_every", "log_every"):
        if getattr(config, setting) < 1:
            raise ValueError(f"{setting}: expected at least 1, got {getattr(config, setting)}")
    run_dir = Path(run_dir)
    folder = run_dir / "checkpoints" / name
    final = folder / "final.safetensors"
    # accelerate keeps one precision a process; stages may differ
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    identity = stage_identity(name, config, seed=seed, samples=len(dataset), processes=accelerator.num_processes)
    if not resume and (final.exists() or list_checkpoints(folder)):
        raise FileExistsError(f"{folder} already holds a trained stage: resume it, or choose a new run directory")

    module.to(accelerator.device)
    if getattr(module, "channels_last", False):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    finished_steps = 0
    if final.exists():
        weights, metadata = load_weights(final)
        saved = json.loads(metadata["identity"])
        check_resumable(saved, identity, str(final))
        finished_steps = saved["config"]["steps"]
        if finished_steps == config.steps:
            module.load_state_dict(weights)
            return _finish(StageResult(name, config.steps, final, skipped=True), module, seed)

    stage = _Stage(name, module, config, seed, accelerator, folder, identity)
    start = stage.restore() if resume else 0
    if start < finished_steps:
        raise CheckpointError(
            f"{final} was trained for {finished_steps} steps; going on to {config.steps} needs the checkpoint of that "
            f"step, and {folder} has {'none' if start == 0 else f'only step {start}'}"
        )

    began = time.monotonic()
    if progress is None:
        progress = Progress()
    progress.enabled = progress.enabled and accelerator.is_main_process
    try:
        values = stage.run(dataset, start, run_dir / "metrics.jsonl", progress)
    finally:
        # removes what accelerate wrapped around the forward, also after an interruption
        accelerator.unwrap_model(stage.model, keep_fp32_wrapper=False)
        accelerator.free_memory()
    stage.use_averaged_weights()
    if accelerator.is_main_process:
        save_weights(final, module.state_dict(), {"identity": json.dumps(identity)})
    accelerator.wait_for_everyone()
    result = StageResult(name, config.steps, final, seconds=time.monotonic() - began, values=values)
    return _finish(result, module, seed)


def _finish(result: StageResult, module: nn.Module, seed: int) -> StageResult:
    # whatever is initialised next must not depend on whether this stage ran, resumed or was skipped
    torch.manual_seed(derive_seed(seed, result.stage, "end"))
    module.eval()
    return result


class _Stage:
    """A module with its optimiser and averages, between the first step and the last."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        config: StageConfig,
        seed: int,
        accelerator: Accelerator,
        folder: Path,
        identity: dict[str, Any],
    ) -> None:
        self.name, self.module, self.config, self.seed = name, module, config, seed
        self.accelerator, self.folder, self.identity = accelerator, folder, identity
        groups = [
            {k: v for k, v in group.items() if k != "names"} for group in parameter_groups(module, config.weight_decay)
        ]
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        # copied before accelerate wraps the forward for mixed precision
        self.average = (
            AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)) if config.ema_decay > 0 else None
        )
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.999))
        self.model, self.optimizer = accelerator.prepare(module, optimizer)

    def restore(self) -> int:
        """Load the newest checkpoint; the number of steps done (0 without one)."""
        if self.accelerator.is_main_process:
            remove_temporary_files(self.folder)
        self.accelerator.wait_for_everyone()
        latest = load_latest_checkpoint(self.folder, set_damaged_aside=self.accelerator.is_main_process)
        if latest is None:
            return 0
        path, state = latest
        check_resumable(state["identity"], self.identity, str(path))
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return int(state["step"])

    def save(self, step: int, log: MetricsLog | None) -> Path:
        """Write the checkpoint of `step` steps done (the first process does; the others wait)."""
        path = checkpoint_path(self.folder, step)
        if self.accelerator.is_main_process:
            if log is not None:
                log.sync()
            state = {
                "step": step,
                "identity": self.identity,
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict() if self.average is not None else None,
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
            }
            save_checkpoint(self.folder, step, state)
        self.accelerator.wait_for_everyone()
        return path

    def run(self, dataset: SampleDataset, start: int, metrics: Path, progress: Progress) -> dict[str, float]:
        """Steps `start` to the last; returns the last step's scalars."""
        config, accelerator = self.config, self.accelerator
        source = BatchSource(
            dataset,
            config.batch_size,
            config.gradient_accumulation,
            seed=self.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            # on a CPU the loader's threads would take the cores from the model
            workers=1 if accelerator.device.type == "cpu" else min(8, os.cpu_count() or 1),
        )
        log = MetricsLog(metrics, self.name, start) if accelerator.is_main_process else None
        values: dict[str, float] = {}
        clock = StepClock()
        self.model.train()
        progress.start(self.name, start, config.steps, config.log_every)
        try:
            with InterruptFlag() as interrupt:
                for step in range(start, config.steps):
                    batches = source.batches(step, prefetch=step + 1 < config.steps)
                    values = self.step(step, batches)
                    done = step + 1
                    clock.tick()
                    if log is not None:
                        log.write(done, {**values, "it_per_s": clock.rate})
                    progress.update(done, values, clock.rate)
                    stop = self.agree(interrupt.requested) and done < config.steps
                    if stop or done == config.steps or done % config.checkpoint_every == 0:
                        path = self.save(done, log)
                        if stop:
                            raise TrainingInterrupted(self.name, done, config.steps, path)
        finally:
            progress.stop()
            source.close()
            if log is not None:
                log.close()
        return values

    def step(self, step: int, batches: Iterable[dict[str, Any]]) -> dict[str, float]:
        """One optimiser step (0-based) over its micro-batches; the mean scalars, gradient norm and learning rate."""
        config, accelerator = self.config, self.accelerator
        rate = learning_rate_at(
            step,
            base=config.learning_rate,
            steps=config.steps,
            warmup_steps=config.warmup_steps,
            schedule=config.schedule,
            power=config.poly_power,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(derive_seed(self.seed, self.name, step, accelerator.process_index))

        scalars: list[dict[str, Tensor]] = []
        for micro, batch in enumerate(batches, start=1):
            whole = micro == config.gradient_accumulation
            # gradients cross processes once a step, with the last micro-batch
            with contextlib.nullcontext() if whole else accelerator.no_sync(self.model):
                outputs = self.model(_to_device(batch, accelerator.device))
                _check_outputs(outputs)
                accelerator.backward(outputs["loss"] / config.gradient_accumulation)
            scalars.append({k: v.detach() for k, v in outputs.items() if isinstance(v, Tensor) and v.numel() == 1})
        values = self.mean(scalars)

        norm = accelerator.clip_grad_norm_(self.parameters, math.inf if config.clip_norm is None else config.clip_norm)
        values["grad_norm"] = float(norm)
        # with fp16 an infinite gradient is routine: the scaler skips the step and halves its scale
        watched = ["loss"] if config.mixed_precision == "fp16" else ["loss", "grad_norm"]
        if not all(math.isfinite(values[key]) for key in watched):
            checkpoints = list_checkpoints(self.folder)
            raise TrainingDiverged(self.name, step + 1, values, checkpoints[-1][1] if checkpoints else None)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if callable(after_step := getattr(self.module, "after_step", None)):
            after_step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        return {**values, "lr": rate}

    def mean(self, scalars: list[dict[str, Tensor]]) -> dict[str, float]:
        """Each scalar's mean over micro-batches and processes, with one transfer from the device."""
        keys = list(scalars[0])
        stacked = torch.stack([torch.stack([micro[key].float().reshape(()) for key in keys]) for micro in scalars])
        means = self.accelerator.reduce(stacked.mean(0), reduction="mean")
        return dict(zip(keys, means.tolist(), strict=True))

    def agree(self, flag: bool) -> bool:
        """Whether any process has raised `flag`: all must leave the loop after the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        count = torch.tensor(float(flag), device=self.accelerator.device)
        return bool(self.accelerator.reduce(count, reduction="sum").item() > 0)

    def use_averaged_weights(self) -> None:
        """Give the module the averaged weights, if there are any."""
        if self.average is not None:
            self.module.load_state_dict(self.average.module.state_dict())


def _to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}


def _check_outputs(outputs: Any) -> None:
    if not isinstance(outputs, Mapping) or not isinstance(outputs.get("loss"), Tensor):
        got = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise ValueError(f'module: expected a dict of scalar tensors with "loss", got {got}')
    if outputs["loss"].numel() != 1:
        raise ValueError(f'module: expected a scalar "loss", got shape {tuple(outputs["loss"].shape)}')
