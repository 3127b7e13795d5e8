"""Checkpoint, weight and metrics files on their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gss.training import CheckpointError, MetricsLog, read_metrics
from gss.training.checkpoint import (
    list_checkpoints,
    load_latest_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    write_atomically,
)
from gss.training.interrupt import InterruptFlag


def test_checkpoints_keep_the_newest_two(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, step, {"step": step, "weight": torch.full((2,), float(step))})
    assert [path.name for _, path in list_checkpoints(tmp_path)] == ["step_0000010.pt", "step_0000015.pt"]
    latest = load_latest_checkpoint(tmp_path)
    assert latest is not None and latest[1]["weight"].tolist() == [15.0, 15.0]
    assert load_latest_checkpoint(tmp_path / "nowhere") is None


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fail)
    assert target.read_text() == "old"


def test_weights_round_trip_with_tied_and_strided_tensors(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    save_weights(tmp_path / "w.safetensors", {"a": shared, "b": shared, "t": shared.T}, {"seed": "3"})
    weights, metadata = load_weights(tmp_path / "w.safetensors")
    assert metadata == {"seed": "3"}
    assert (
        torch.equal(weights["a"], shared) and torch.equal(weights["b"], shared) and torch.equal(weights["t"], shared.T)
    )
    (tmp_path / "w.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(CheckpointError, match=r"w\.safetensors is damaged"):
        load_weights(tmp_path / "w.safetensors")


def test_metrics_log_drops_what_a_resume_repeats(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for stage in ("tokenizer", "prior"):
        log = MetricsLog(path, stage, 0)
        for step in (1, 2, 3):
            log.write(step, {"loss": 1 / step})
        log.close()
    with path.open("a") as file:
        file.write('{"stage": "prior", "st')
    log = MetricsLog(path, "prior", 2)
    log.write(3, {"loss": 7.0, "grad_norm": float("inf"), "it_per_s": None})
    log.close()
    assert [(r["stage"], r["step"]) for r in read_metrics(path)] == [
        (stage, step) for stage in ("tokenizer", "prior") for step in (1, 2, 3)
    ]
    assert read_metrics(path, "prior")[-1] == {
        "stage": "prior",
        "step": 3,
        "loss": 7.0,
        "grad_norm": None,
        "it_per_s": None,
    }
    assert read_metrics(path, "prior")[1]["loss"] == 0.5


def test_broken_metrics_line(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"m\.jsonl:2: not a JSON object"):
        read_metrics(tmp_path / "m.jsonl")
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_second_interrupt_is_immediate() -> None:
    import signal

    with InterruptFlag() as flag:
        signal.raise_signal(signal.SIGINT)
        assert flag.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
