"""Checkpoint, weight and metrics files on their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from gss.training.checkpoint import (
    CheckpointError,
    checkpoint_path,
    list_checkpoints,
    load_latest_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    weights_digest,
)
from gss.training.metrics_log import MetricsLog, read_metrics
from gss.training.outcome import InterruptFlag


def test_checkpoints_keep_the_newest_two(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, step, {"step": step, "weight": torch.full((2,), float(step))})
    assert [path.name for _, path in list_checkpoints(tmp_path)] == ["step_0000010.pt", "step_0000015.pt"]
    latest = load_latest_checkpoint(tmp_path)
    assert latest is not None and latest[1]["weight"].tolist() == [15.0, 15.0]
    assert load_latest_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", [b"", b"x" * 10, None])
def test_damaged_checkpoints_stay_until_an_older_one_is_read(tmp_path: Path, content: bytes | None) -> None:
    save_checkpoint(tmp_path, 9, {"step": 9, "weight": torch.zeros(500)})
    newest = save_checkpoint(tmp_path, 10, {"step": 10, "weight": torch.zeros(500)})
    for path in (checkpoint_path(tmp_path, 9), newest):
        path.write_bytes(path.read_bytes()[:1500] if content is None else content)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"none of the checkpoints.*step_0000010\.pt.*step_0000009\.pt"):
            load_latest_checkpoint(tmp_path)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [9, 10]

    save_checkpoint(tmp_path, 8, {"step": 8}, keep=3)
    with pytest.warns(UserWarning, match=r"is damaged .*going back to step_0000008\.pt"):
        latest = load_latest_checkpoint(tmp_path)
    assert latest is not None and latest[1] == {"step": 8}
    assert [step for step, _ in list_checkpoints(tmp_path)] == [8]
    checkpoint_path(tmp_path, 8).unlink()
    for _ in range(2):
        with pytest.raises(CheckpointError, match="damaged"):
            load_latest_checkpoint(tmp_path)


def test_a_checkpoint_that_may_not_be_read_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"step": step})

    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(PermissionError, match=r"step_0000002\.pt"):
        load_latest_checkpoint(tmp_path)
    assert len(list_checkpoints(tmp_path)) == 2


def test_weights_follow_the_umask_and_hash_by_value(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    before = os.umask(0o027)
    try:
        save_weights(paths[0], {"w": torch.arange(4.0), "n": torch.tensor(3)}, {"seed": "0"})
    finally:
        os.umask(before)
    assert paths[0].stat().st_mode & 0o777 == 0o640
    save_weights(paths[1], {"n": torch.tensor(3), "w": torch.arange(4.0)}, {"seed": "1"})
    save_weights(paths[2], {"w": torch.arange(4.0) + 1e-6, "n": torch.tensor(3)}, {})
    digests = [weights_digest(path) for path in paths]
    assert digests[0] == digests[1] != digests[2]


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
