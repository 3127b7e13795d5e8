from __future__ import annotations

import io
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gss.io.progress import progress_bar
from gss.training.metrics_log import StepSpeed, read_metrics
from gss.training.outcome import TrainingInterrupted
from tests.gss.training import tiny_run as tiny


def test_gradient_accumulation_equals_the_larger_batch(tmp_path: Path) -> None:
    losses, weights = [], []
    for run_dir, batch_size, micro_batches in ((tmp_path / "whole", 4, 1), (tmp_path / "split", 1, 4)):
        torch.manual_seed(7)
        net = tiny.TinyNet(regularised=False)
        tiny.run(run_dir, net, steps=8, batch_size=batch_size, gradient_accumulation=micro_batches, clip_norm=None)
        assert net.calls == 8 * micro_batches
        losses.append([line["loss"] for line in read_metrics(run_dir / "metrics.jsonl")])
        weights.append(torch.cat([p.flatten() for p in net.parameters()]))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)


class Scalar(nn.Module):
    """loss = weight, so that AdamW without decay moves the weight by the learning rate each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.seen: list[float] = []

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {"loss": self.weight}

    def after_step(self) -> None:
        self.seen.append(self.weight.item())


def test_ema_weights_are_the_result(tmp_path: Path) -> None:
    net = Scalar()
    tiny.run(tmp_path, net, steps=6, ema_decay=0.5, schedule="constant", warmup_steps=0, learning_rate=0.1)
    assert net.seen == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], abs=1e-5)
    expected = net.seen[0]
    for weight in net.seen[1:]:
        expected = 0.5 * expected + 0.5 * weight
    assert net.weight.item() == pytest.approx(expected, abs=1e-6)


def test_clip_norm_limits_the_gradient(tmp_path: Path) -> None:
    net = Scalar()
    tiny.run(tmp_path, net, steps=2, clip_norm=0.25, ema_decay=0.0)
    state = torch.load(tmp_path / "checkpoints" / "tiny" / "step_0000002.pt", weights_only=True)
    first_moment = state["optimizer"]["state"][0]["exp_avg"]
    # after two steps with the gradient 0.25: (1 - 0.9 ** 2) * 0.25
    assert float(first_moment) == pytest.approx(0.19 * 0.25, rel=1e-4)
    # the log has the norm before clipping
    assert [line["grad_norm"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1.0, 1.0]


def test_bf16_stage_after_a_float32_stage(tmp_path: Path) -> None:
    tiny.run(tmp_path / "a", steps=2)
    _, net = tiny.run(tmp_path / "b", steps=2, mixed_precision="bf16")
    exact, rounded = (read_metrics(tmp_path / run / "metrics.jsonl")[0]["loss"] for run in "ab")
    assert exact != rounded and rounded == pytest.approx(exact, rel=2e-2)
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert "_original_forward" not in vars(net)


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset: 3 samples, but one step takes 4 .*lower batch_size"):
        tiny.run(tmp_path, dataset=tiny.NoisyPatches(3))
    with pytest.raises(ValueError, match="nothing to train"):
        tiny.run(tmp_path, tiny.TinyNet().requires_grad_(False))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_fp16_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='mixed_precision: "fp16" needs a GPU.*"bf16"'):
        tiny.run(tmp_path, mixed_precision="fp16")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"accuracy": torch.tensor(1.0)}, r"got \['accuracy'\]"),
        (torch.tensor(1.0), "got Tensor"),
        ({"loss": torch.ones(2)}, r"got shape \(2,\)"),
    ],
)
def test_module_without_a_loss(tmp_path: Path, outputs: Any, message: str) -> None:
    net = Scalar()
    net.forward = lambda batch: outputs  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=message):
        tiny.run(tmp_path, net)


class Broken(tiny.NoisyPatches):
    def sample(self, index: int, generator: torch.Generator) -> dict[str, Any]:
        if index == 5:
            raise OSError("image 5 cannot be read")
        return super().sample(index, generator)


@pytest.mark.parametrize("workers", [0, 1])
def test_sample_errors_reach_the_caller(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gss.training.loop.loader_workers", lambda *_: workers)
    with pytest.raises(OSError, match="image 5 cannot be read"):
        tiny.run(tmp_path, dataset=Broken())


def test_speed_ignores_the_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 100.5, 101.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    speed = StepSpeed()
    for _ in range(3):
        speed.tick()
    assert speed.rate is None and str(speed) == "- it/s"
    speed.tick()
    speed.tick()
    assert speed.rate == pytest.approx(2.0) and str(speed) == "2.00 it/s"


def test_a_log_file_gets_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tiny.TinyNet()
    net.at_call[2] = tiny.send(signal.SIGINT)
    with pytest.raises(TrainingInterrupted):
        tiny.run(tmp_path, net, steps=7, log_every=2)
    tiny.run(tmp_path, steps=7, log_every=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines.pop(1) == "tiny: resuming after step 2 of 7"
    pattern = r"tiny {}/7  loss \d\.\d{{4}}  (-|\d+\.\d\d) it/s  (--|\d\d):(--|\d\d) left"
    assert all(re.fullmatch(pattern.format(n), line) for n, line in zip((2, 4, 6, 7), lines, strict=True)), lines


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for shown in (True, False):
        monkeypatch.setattr("sys.stderr", stream := Terminal())
        with progress_bar("prior", lines_every=2, shown=shown) as report:
            report(10, 10, "loss 0.5000")
        assert all((text in stream.getvalue()) == shown for text in ("prior", "10/10", "loss 0.5000"))
