"""A training run small enough to be killed: imported by the tests, and run as a script by them."""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gss.config import StageConfig
from gss.training.loop import train_stage
from gss.training.outcome import StageResult

CONFIG = StageConfig(
    steps=24,
    batch_size=4,
    learning_rate=3e-2,
    warmup_steps=4,
    clip_norm=1.0,
    ema_decay=0.8,
    checkpoint_every=5,
    log_every=10,
)


class NoisyPatches:
    """Class i is a brightness; noise and flip come from the generator."""

    def __init__(self, length: int = 22) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int, generator: torch.Generator) -> dict[str, Any]:
        noise = torch.randint(0, 40, (3, 6, 8), generator=generator)
        label = torch.full((6, 8), index % 3, dtype=torch.uint8)
        return {"image": (noise + 70 * (index % 3)).to(torch.uint8), "label": label, "name": f"{index:02d}"}


class TinyNet(nn.Module):
    """Dropout, BatchNorm, a frozen layer and a codebook kept by `after_step`: everything a resume could lose."""

    channels_last = True

    def __init__(self, regularised: bool = True) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(3, 3, 1).requires_grad_(False)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6) if regularised else nn.Identity()
        self.dropout = nn.Dropout(0.2 if regularised else 0.0)
        self.head = nn.Conv2d(6, 3, 1)
        self.codebook: Tensor
        self.register_buffer("codebook", torch.zeros(6))
        self.calls = 0
        self.at_call: dict[int, Any] = {}

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        self.calls += 1
        x = self.norm(self.stem(self.frozen(batch["image"].float() / 255)))
        logits = self.head(self.dropout(torch.relu(x)))
        loss = nn.functional.cross_entropy(logits, batch["label"].long())
        action = self.at_call.get(self.calls)
        if action is not None:
            loss = action(loss)
        accuracy = (logits.argmax(1) == batch["label"]).float().mean()
        return {"loss": loss, "accuracy": accuracy, "logits": logits}

    def after_step(self) -> None:
        self.codebook.lerp_(self.head.weight.detach().mean(dim=(0, 2, 3)) + torch.rand(6), 0.1)


def send(number: int) -> Any:
    """An action for `at_call`: send this process a signal in the middle of the step."""

    def action(loss: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return loss

    return action


def run(run_dir: Path, net: TinyNet | None = None, **changes: Any) -> tuple[StageResult, TinyNet]:
    """Train TinyNet; `changes` are StageConfig fields, `seed`, `dataset`, `inputs` or `resume`."""
    torch.set_num_threads(1)
    if net is None:
        torch.manual_seed(7)
        net = TinyNet()
    seed, resume = changes.pop("seed", 3), changes.pop("resume", True)
    dataset, inputs = changes.pop("dataset", NoisyPatches()), changes.pop("inputs", None)
    config = replace(CONFIG, **changes)
    result = train_stage("tiny", net, dataset, config, run_dir, seed=seed, resume=resume, inputs=inputs)
    return result, net


def kill_while_saving(step: int) -> None:
    """Make torch.save write half of the checkpoint of `step`, then kill the process."""
    save = torch.save

    def half_save(state: dict[str, Any], path: Path) -> None:
        save(state, path)
        if state["step"] == step:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half_save  # type: ignore[assignment]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--kill-in-step", type=int)
    parser.add_argument("--kill-while-saving", type=int)
    arguments = parser.parse_args()
    torch.manual_seed(7)
    victim = TinyNet()
    if arguments.kill_in_step:
        victim.at_call[arguments.kill_in_step] = send(signal.SIGKILL)
    if arguments.kill_while_saving:
        kill_while_saving(arguments.kill_while_saving)
    run(arguments.run_dir, victim)
