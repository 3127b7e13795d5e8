"""A run that is killed and resumed equals the run that was not, value by value."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gss.training import loop
from gss.training.checkpoint import CheckpointError, checkpoint_path, list_checkpoints, load_weights
from gss.training.metrics_log import read_metrics
from gss.training.outcome import TrainingDiverged, TrainingInterrupted
from gss.training.resume import ResumeMismatch
from tests.gss.training import tiny_run as tiny

REPOSITORY = Path(__file__).parents[3]


def history(run_dir: Path) -> list[dict[str, Any]]:
    """The metrics lines without the one value that depends on the clock."""
    return [
        {k: v for k, v in line.items() if k != "it_per_s"} for line in read_metrics(run_dir / "metrics.jsonl", "tiny")
    ]


def final_weights(run_dir: Path) -> dict[str, Tensor]:
    return load_weights(run_dir / "checkpoints" / "tiny" / "final.safetensors")[0]


def assert_same_run(run_dir: Path, reference: Path) -> None:
    assert history(run_dir) == history(reference)
    got, expected = final_weights(run_dir), final_weights(reference)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(got[name], value), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("uninterrupted")
    tiny.run(run_dir)
    return run_dir


def run_until_killed(run_dir: Path, *flags: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(tiny.__file__), str(run_dir), *flags],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_uninterrupted_run(uninterrupted: Path) -> None:
    lines = history(uninterrupted)
    assert [line["step"] for line in lines] == list(range(1, 25))
    assert set(lines[0]) == {"stage", "step", "loss", "accuracy", "grad_norm", "lr"}
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert [step for step, _ in list_checkpoints(uninterrupted / "checkpoints" / "tiny")] == [20, 24]


def test_killed_in_a_step(tmp_path: Path, uninterrupted: Path) -> None:
    run_until_killed(tmp_path, "--kill-in-step", "18")
    # steps 16 and 17 are in the log, but past the checkpoint: the resume repeats them
    assert [line["step"] for line in history(tmp_path)] == list(range(1, 18))
    assert [step for step, _ in list_checkpoints(tmp_path / "checkpoints" / "tiny")] == [10, 15]
    tiny.run(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


def test_killed_while_writing_a_checkpoint(tmp_path: Path, uninterrupted: Path) -> None:
    run_until_killed(tmp_path, "--kill-while-saving", "10")
    folder = tmp_path / "checkpoints" / "tiny"
    (half,) = folder.glob("*.tmp*")
    assert half.name.startswith(".step_0000010.") and half.suffix == ".pt"
    assert [step for step, _ in list_checkpoints(folder)] == [5]
    tiny.run(tmp_path)
    assert_same_run(tmp_path, uninterrupted)
    assert not half.exists()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_finishes_the_step(
    tmp_path: Path, uninterrupted: Path, number: signal.Signals, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with worker processes, which the signal reaches too, as from a terminal or a batch system."""

    def signal_all(loss: Tensor) -> Tensor:
        children = multiprocessing.active_children()
        assert len(children) == workers
        for child in children:
            os.kill(child.pid, number)
        return tiny.send(number)(loss)

    monkeypatch.setattr(loop, "loader_workers", lambda *_: workers)
    before = signal.getsignal(number)
    net = initial_net()
    net.at_call[8] = signal_all
    with pytest.raises(TrainingInterrupted, match=r"after step 8 of 24.*the run can be resumed from there") as stopped:
        tiny.run(tmp_path, net)
    assert not multiprocessing.active_children()
    assert signal.getsignal(number) is before
    assert stopped.value.step == 8
    assert stopped.value.checkpoint == checkpoint_path(tmp_path / "checkpoints" / "tiny", 8)
    tiny.run(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.parametrize("moment", ["last step", "last save"])
def test_signal_at_the_very_end(
    tmp_path: Path, uninterrupted: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = initial_net()
    if moment == "last step":
        net.at_call[24] = tiny.send(signal.SIGINT)
    else:
        save_weights = loop.save_weights

        def interrupted(*arguments: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            save_weights(*arguments)

        monkeypatch.setattr(loop, "save_weights", interrupted)
    with pytest.raises(TrainingInterrupted, match="after step 24 of 24") as stopped:
        tiny.run(tmp_path, net)
    assert stopped.value.checkpoint == tmp_path / "checkpoints" / "tiny" / "final.safetensors"
    assert_same_run(tmp_path, uninterrupted)
    assert tiny.run(tmp_path)[0].skipped


def test_damaged_checkpoint_is_set_aside(tmp_path: Path, uninterrupted: Path) -> None:
    net = initial_net()
    net.at_call[12] = tiny.send(signal.SIGINT)
    with pytest.raises(TrainingInterrupted):
        tiny.run(tmp_path, net)
    newest = checkpoint_path(tmp_path / "checkpoints" / "tiny", 12)
    os.truncate(newest, newest.stat().st_size // 2)
    with pytest.warns(UserWarning, match=r"step_0000012.pt is damaged"):
        tiny.run(tmp_path)
    assert_same_run(tmp_path, uninterrupted)
    assert newest.with_name(newest.name + ".damaged").exists()


@pytest.mark.parametrize("size", [0, 10])
def test_no_readable_checkpoint(tmp_path: Path, size: int) -> None:
    folder = tmp_path / "checkpoints" / "tiny"
    folder.mkdir(parents=True)
    checkpoint_path(folder, 5).write_bytes(b"x" * size)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"none of the checkpoints can be read \(step_0000005\.pt is damaged"):
            tiny.run(tmp_path)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_divergence_keeps_the_last_checkpoint(tmp_path: Path, precision: str) -> None:
    net = initial_net()
    net.at_call[13] = lambda loss: loss * float("nan")
    with pytest.raises(TrainingDiverged, match=r"step 13.*loss nan.*step_0000010\.pt") as diverged:
        tiny.run(tmp_path, net, mixed_precision=precision)
    folder = tmp_path / "checkpoints" / "tiny"
    assert diverged.value.step == 13
    assert diverged.value.checkpoint == checkpoint_path(folder, 10)
    assert [step for step, _ in list_checkpoints(folder)] == [5, 10]
    state = torch.load(diverged.value.checkpoint, weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["module"].values())
    assert [line["step"] for line in history(tmp_path)] == list(range(1, 13))
    assert "_original_forward" not in vars(net)


def test_infinite_gradient_of_a_finite_loss(tmp_path: Path) -> None:
    net = initial_net()
    # sqrt has an infinite slope at 0, where its value is fine
    net.at_call[2] = lambda loss: loss + torch.sqrt(loss - loss)
    with pytest.raises(TrainingDiverged, match=r"step 2: loss \d.*grad_norm nan; no checkpoint had been written"):
        tiny.run(tmp_path, net)


def test_finished_stage_is_skipped(tmp_path: Path) -> None:
    result, trained = tiny.run(tmp_path, steps=6)
    assert not result.skipped and result.values["loss"] > 0
    after_training = torch.rand(1)
    skipped, net = tiny.run(tmp_path, steps=6, log_every=1, checkpoint_every=3)
    assert skipped.skipped and net.calls == 0 and not net.training
    # what is initialised next does not depend on whether the stage ran
    assert torch.equal(torch.rand(1), after_training)
    for name, value in trained.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name


def test_steps_may_grow(tmp_path: Path) -> None:
    tiny.run(tmp_path, steps=6, schedule="constant")
    result, net = tiny.run(tmp_path, steps=9, schedule="constant")
    assert not result.skipped and net.calls == 3
    (tmp_path / "whole").mkdir()
    tiny.run(tmp_path / "whole", steps=9, schedule="constant")
    assert_same_run(tmp_path, tmp_path / "whole")


def test_growing_needs_the_last_checkpoint(tmp_path: Path) -> None:
    tiny.run(tmp_path, steps=6)
    checkpoint_path(tmp_path / "checkpoints" / "tiny", 6).unlink()
    with pytest.raises(CheckpointError, match="needs the checkpoint of that step"):
        tiny.run(tmp_path, steps=9)


def test_changed_settings_are_refused_by_name(tmp_path: Path) -> None:
    net = initial_net()
    net.at_call[7] = tiny.send(signal.SIGINT)
    with pytest.raises(TrainingInterrupted):
        tiny.run(tmp_path, net)
    with pytest.raises(ResumeMismatch) as mismatch:
        tiny.run(tmp_path, seed=4, learning_rate=1e-3, steps=20, checkpoint_every=2)
    message = str(mismatch.value)
    assert "seed: was 3, now 4" in message
    assert "config.learning_rate: was 0.03, now 0.001" in message
    assert "config.steps: was 24, now 20 (steps may grow, not shrink)" in message
    assert "checkpoint_every" not in message
    with pytest.raises(ResumeMismatch, match="dataset samples: was 22, now 21"):
        tiny.run(tmp_path, dataset=tiny.NoisyPatches(21))


def test_changed_inputs_are_refused_finished_or_not(tmp_path: Path) -> None:
    inputs = {"data": {"names": "a1", "pixels": {"sky": 3}}, "palette": {"colors": [[0, 0, 0]]}}
    tiny.run(tmp_path, steps=4, inputs=inputs)
    assert tiny.run(tmp_path, steps=4, inputs=inputs)[0].skipped
    other = {"data": {"names": "a1", "pixels": {"sky": 4, "log_every": 1}}, "palette": {"colors": [[9, 0, 0]]}}
    for steps in (4, 6):
        with pytest.raises(ResumeMismatch) as mismatch:
            tiny.run(tmp_path, steps=steps, inputs=other)
        message = str(mismatch.value)
        assert "data.pixels.sky: was 3, now 4" in message and "data.pixels.log_every: was None, now 1" in message
        assert "palette.colors: was [[0, 0, 0]], now [[9, 0, 0]]" in message
        assert "config.steps" not in message and f"remove {tmp_path / 'checkpoints' / 'tiny'} to train" in message


def test_a_checkpoint_without_a_record_is_continued_with_a_warning(tmp_path: Path) -> None:
    tiny.run(tmp_path, steps=2)
    with pytest.warns(UserWarning, match=r"final\.safetensors does not record data: changes there go unnoticed"):
        assert tiny.run(tmp_path, steps=2, inputs={"data": {"names": "a1"}})[0].skipped


@pytest.mark.parametrize(("steps", "file"), [(2, r"final\.safetensors"), (4, r"step_0000002\.pt")])
def test_weights_of_another_module_name_the_file(tmp_path: Path, steps: int, file: str) -> None:
    tiny.run(tmp_path, steps=2)
    with pytest.raises(CheckpointError, match=rf"(?s){file} does not fit the model.*norm\.weight"):
        tiny.run(tmp_path, tiny.TinyNet(regularised=False), steps=steps)


def test_without_resume_nothing_is_overwritten(tmp_path: Path) -> None:
    tiny.run(tmp_path, steps=5, resume=False)
    with pytest.raises(FileExistsError, match="already holds a trained stage"):
        tiny.run(tmp_path, steps=5, resume=False)


def initial_net() -> Any:
    torch.manual_seed(7)
    return tiny.TinyNet()
