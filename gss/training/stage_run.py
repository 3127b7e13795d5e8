"""The optimiser steps of one stage, with their checkpoints."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gss.config import StageConfig
from gss.io.files import remove_leftovers
from gss.training.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    load_latest_checkpoint,
    restoring,
    save_checkpoint,
)
from gss.training.interrupt import InterruptFlag
from gss.training.metrics_log import MetricsLog
from gss.training.outcome import TrainingDiverged, TrainingInterrupted
from gss.training.parameter_groups import parameter_groups
from gss.training.progress import Progress, StepClock
from gss.training.sampling import BatchSource, SampleDataset, derive_seed
from gss.training.schedule import learning_rate_at


class StageRun:
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
            {k: v for k, v in group.items() if k != "names"}
            for group in parameter_groups(module, config.weight_decay, config.decay_rule)
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
            remove_leftovers(self.folder)
        self.accelerator.wait_for_everyone()
        latest = load_latest_checkpoint(self.folder, set_damaged_aside=self.accelerator.is_main_process)
        if latest is None:
            return 0
        path, state = latest
        with restoring(path):
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

    def run(
        self, dataset: SampleDataset, start: int, metrics: Path, progress: Progress, interrupt: InterruptFlag
    ) -> dict[str, float]:
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
            minimum=config.min_learning_rate,
            warmup_steps=config.warmup_steps,
            warmup_ratio=config.warmup_ratio,
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
