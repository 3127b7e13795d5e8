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
import sys
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
from gss.io.files import remove_leftovers
from gss.io.progress import progress_bar
from gss.training.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    load_latest_checkpoint,
    load_weights,
    restoring,
    save_checkpoint,
    save_weights,
)
from gss.training.metrics_log import MetricsLog, StepSpeed
from gss.training.outcome import InterruptFlag, StageResult, TrainingDiverged, TrainingInterrupted
from gss.training.parameter_groups import parameter_groups
from gss.training.resume import check_stage, final_weights, has_begun, stage_folder, stage_identity
from gss.training.sampling import SampleDataset, StepSampler, derive_seed, loader_workers, step_batches
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
    inputs: Mapping[str, Any] | None = None,
) -> StageResult:
    """Train `module` for `config.steps` optimiser steps, or what is left of them.

    Args:
        name: name of the stage; its files go to `run_dir/checkpoints/name/`, its lines to `run_dir/metrics.jsonl`.
        module: `module(batch)` returns a dict of scalar tensors with "loss"; the others are logged. If it defines
            `after_step()`, that is called after every optimiser step, before the EMA takes the weights. If it has
            `channels_last = True`, its weights are laid out that way. `train()` is called on it: a frozen part that
            has to stay in eval mode overrides `train`.
        dataset: `sample(index, generator)` takes all its randomness from the generator. On a GPU it is called in worker
            processes.
        config: `batch_size` is the micro-batch over all processes; a step averages the loss of
            `gradient_accumulation` of them.
        seed: seed of data order, augmentation and dropout. The caller initialises the weights.
        resume: continue from the newest checkpoint; a finished stage is loaded and skipped. With False, a stage that
            already has files is refused.
        inputs: sections of JSON values with everything else that decides the numbers (the model's settings, the data).
            Checkpoints record them, and a stage is not continued under others.

    Returns:
        StageResult; `module` holds the final weights (the EMA weights if `config.ema_decay > 0`), in eval mode, on the
        training device. The global torch generator is left in a state that depends on (seed, name) only.

    Raises:
        TrainingDiverged, TrainingInterrupted, ResumeMismatch (a ValueError), CheckpointError.
        FileExistsError: if `resume` is False and the stage has files.
        ValueError: if the data set is smaller than a step, nothing is trainable, the module returns no "loss", or
            fp16 is requested on a CPU.

    Example::

        module = PriorTraining(model, class_weights)
        result = train_stage("prior", module, dataset, recipe.prior_stage, "runs/a", seed=recipe.seed)
        print(result.values["loss"], result.weights)
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

    stage = _StageRun(name, module, config, seed, accelerator, folder, identity)
    start = stage.restore()
    began = time.monotonic()
    with InterruptFlag() as interrupt:
        try:
            values = stage.run(dataset, start, run_dir / "metrics.jsonl", interrupt)
        finally:
            # removes what accelerate wrapped around the forward, also after an interruption
            accelerator.unwrap_model(stage.model, keep_fp32_wrapper=False)
            accelerator.free_memory()
        if stage.average is not None:
            module.load_state_dict(stage.average.module.state_dict())
        if accelerator.is_main_process:
            save_weights(final, module.state_dict(), {"identity": json.dumps(identity)})
        # a signal during the last step or the last save: the stage is finished, but its caller has to stop
        interrupted = torch.tensor(float(interrupt.requested), device=accelerator.device)
        if accelerator.reduce(interrupted, reduction="sum").item():
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


class _StageRun:
    """A module with its optimiser and averaged weights, between the first step and the last."""

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
        groups = parameter_groups(module, config.weight_decay, config.decay_rule)
        for group in groups:
            del group["names"]
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        # copied before accelerate wraps the forward for mixed precision
        self.average = (
            AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)) if config.ema_decay > 0 else None
        )
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.999))
        self.model, self.optimizer = accelerator.prepare(module, optimizer)

    def _stateful(self) -> dict[str, Any]:
        """The parts whose state a checkpoint holds, by their names there."""
        parts = {"module": self.module, "optimizer": self.optimizer}
        return parts | {"average": self.average, "scaler": self.accelerator.scaler}

    def restore(self) -> int:
        """Load the newest checkpoint; returns the number of steps done (0 without one)."""
        if self.accelerator.is_main_process:
            remove_leftovers(self.folder)
        self.accelerator.wait_for_everyone()
        latest = load_latest_checkpoint(self.folder, set_damaged_aside=self.accelerator.is_main_process)
        if latest is None:
            return 0
        path, state = latest
        with restoring(path):
            for name, part in self._stateful().items():
                if part is not None:
                    part.load_state_dict(state[name])
        return int(state["step"])

    def save(self, step: int, log: MetricsLog | None) -> Path:
        """Write the checkpoint of `step` steps done (the first process does; the others wait)."""
        if self.accelerator.is_main_process:
            if log is not None:
                log.sync()
            parts = {name: None if part is None else part.state_dict() for name, part in self._stateful().items()}
            save_checkpoint(self.folder, step, {"step": step, "identity": self.identity, **parts})
        self.accelerator.wait_for_everyone()
        return checkpoint_path(self.folder, step)

    def run(self, dataset: SampleDataset, start: int, metrics: Path, interrupt: InterruptFlag) -> dict[str, float]:
        """Run the steps from `start` to the last; returns the last step's scalars."""
        config, accelerator = self.config, self.accelerator
        device, main = accelerator.device, accelerator.is_main_process
        sampler = StepSampler(
            len(dataset),
            config.batch_size,
            config.gradient_accumulation,
            seed=self.seed,
            start=start,
            stop=config.steps,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
        )
        if start and main:
            print(f"{self.name}: resuming after step {start} of {config.steps}", file=sys.stderr, flush=True)
        values: dict[str, float] = {}
        speed = StepSpeed()
        self.model.train()
        with contextlib.ExitStack() as stack:
            # closing ends the workers
            workers = loader_workers(device, accelerator.num_processes)
            batches = stack.enter_context(contextlib.closing(step_batches(dataset, sampler, device, workers)))
            log = stack.enter_context(contextlib.closing(MetricsLog(metrics, self.name, start))) if main else None
            report = stack.enter_context(progress_bar(self.name, start=start, lines_every=config.log_every, shown=main))
            for step in range(start, config.steps):
                micro_batches = (next(batches) for _ in range(config.gradient_accumulation))
                values, stop = self.step(step, micro_batches, interrupt)
                done = step + 1
                speed.tick()
                if log is not None:
                    log.write(done, {**values, "it_per_s": speed.rate})
                report(done, config.steps, f"loss {values['loss']:.4f}  {speed}")
                stop = stop and done < config.steps
                if stop or done == config.steps or done % config.checkpoint_every == 0:
                    path = self.save(done, log)
                    if stop:
                        raise TrainingInterrupted(self.name, done, config.steps, path)
        return values

    def step(
        self, step: int, batches: Iterable[dict[str, Any]], interrupt: InterruptFlag
    ) -> tuple[dict[str, float], bool]:
        """One optimiser step (0-based) over its micro-batches.

        Returns:
            The mean scalars with the gradient norm and the learning rate, and whether any process was interrupted.
        """
        config, accelerator = self.config, self.accelerator
        rate = learning_rate_at(
            step,
            base=config.learning_rate,
            steps=config.steps,
            warmup_steps=config.warmup_steps,
            schedule=config.schedule,
            power=config.poly_power,
            warmup_ratio=config.warmup_ratio,
            minimum=config.min_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(derive_seed(self.seed, self.name, step, accelerator.process_index))

        scalars: list[dict[str, Tensor]] = []
        for micro, batch in enumerate(batches, start=1):
            whole = micro == config.gradient_accumulation
            # gradients cross processes once a step, with the last micro-batch
            with contextlib.nullcontext() if whole else accelerator.no_sync(self.model):
                inputs = {
                    key: value.to(accelerator.device, non_blocking=True) if isinstance(value, Tensor) else value
                    for key, value in batch.items()
                }
                outputs = self.model(inputs)
                _check_outputs(outputs)
                accelerator.backward(outputs["loss"] / config.gradient_accumulation)
            scalars.append({k: v.detach() for k, v in outputs.items() if isinstance(v, Tensor) and v.numel() == 1})
        norm = accelerator.clip_grad_norm_(self.parameters, math.inf if config.clip_norm is None else config.clip_norm)

        values, stop = self._read(scalars, norm, interrupt.requested)
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
        return {**values, "lr": rate}, stop

    def _read(self, scalars: list[dict[str, Tensor]], norm: Tensor, interrupted: bool) -> tuple[dict[str, float], bool]:
        """Means over micro-batches and processes, and whether any process was interrupted: all must stop together.

        The one point of a step where the host waits for the device.
        """
        keys = list(scalars[0])
        stacked = torch.stack([torch.stack([micro[key].float().reshape(()) for key in keys]) for micro in scalars])
        flag = norm.new_full((), float(interrupted), dtype=torch.float32)
        row = torch.cat([stacked.mean(0), torch.stack([norm.float(), flag])])
        *means, norm_value, flag_value = self.accelerator.reduce(row, reduction="mean").tolist()
        return {**dict(zip(keys, means, strict=True)), "grad_norm": norm_value}, flag_value > 0


def _check_outputs(outputs: Any) -> None:
    if not isinstance(outputs, Mapping) or not isinstance(outputs.get("loss"), Tensor):
        got = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise ValueError(f'module: expected a dict of scalar tensors with "loss", got {got}')
    if outputs["loss"].numel() != 1:
        raise ValueError(f'module: expected a scalar "loss", got shape {tuple(outputs["loss"].shape)}')
