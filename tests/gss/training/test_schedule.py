from __future__ import annotations

import math
from pathlib import Path

import pytest

from gss.config import StageConfig
from gss.training.resume import ResumeMismatch, check_resumable, stage_identity
from gss.training.schedule import decay_factor, learning_rate_at, warmup_factor


@pytest.mark.parametrize("step", [0, 1, 749, 1499, 1500, 1501, 40_000, 79_999])
def test_poly_with_warmup_is_the_papers_recipe(step: int) -> None:
    # lr_t = poly_lr_t * (1 - (1 - t / 1500)(1 - 1e-6)) below 1500, poly_lr_t from there on
    poly = 6e-5 * (1 - step / 80_000)
    expected = poly * (1 - (1 - step / 1500) * (1 - 1e-6)) if step < 1500 else poly
    got = learning_rate_at(step, base=6e-5, steps=80_000, warmup_steps=1500, schedule="poly", power=1.0)
    assert got == pytest.approx(expected, rel=1e-12)


def test_ends() -> None:
    assert learning_rate_at(0, base=1.0, steps=100, warmup_steps=10) == pytest.approx(1e-6, rel=1e-9)
    assert learning_rate_at(0, base=1.0, steps=100) == 1.0
    assert learning_rate_at(100, base=1.0, steps=100) == 0.0


@pytest.mark.parametrize("schedule", ["poly", "cosine", "constant"])
def test_a_floor(schedule: str) -> None:
    rates = [learning_rate_at(step, base=1.0, steps=100, minimum=0.2, schedule=schedule) for step in (0, 50, 100)]
    assert rates == pytest.approx([1.0, 1.0, 1.0] if schedule == "constant" else [1.0, 0.6, 0.2])
    # the warmup scales the floor too
    assert learning_rate_at(0, base=1.0, steps=9, minimum=0.2, warmup_steps=3, warmup_ratio=0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("step", [0, 13, 50, 100])
def test_decay_factors(step: int) -> None:
    assert decay_factor(step, 100, "poly", power=0.9) == pytest.approx((1 - step / 100) ** 0.9)
    assert decay_factor(step, 100, "cosine") == pytest.approx(math.cos(math.pi * step / 200) ** 2)
    assert decay_factor(step, 100, "constant") == 1.0


def test_warmup_is_linear() -> None:
    factors = [warmup_factor(step, 4, ratio=0.2) for step in range(6)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="schedule: expected poly, cosine or constant, got 'step'"):
        decay_factor(0, 10, "step")
    with pytest.raises(ValueError, match=r"step: expected 0\.\.10, got 11"):
        decay_factor(11, 10, "poly")
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        decay_factor(0, 0, "poly")
    with pytest.raises(ValueError, match="warmup_steps: expected 0 or more, got -1"):
        warmup_factor(0, -1)


def test_checkpoints_from_before_ratio_and_floor_were_settings_go_on() -> None:
    now = stage_identity("prior", StageConfig(), seed=0, samples=4, processes=1)
    settings = {key: value for key, value in now["config"].items() if key not in ("warmup_ratio", "min_learning_rate")}
    before = {**now, "config": settings}
    check_resumable(before, now, Path("folder/file"))
    changed = stage_identity("prior", StageConfig(warmup_ratio=0.1), seed=0, samples=4, processes=1)
    with pytest.raises(ResumeMismatch, match=r"config\.warmup_ratio: was 1e-06, now 0\.1"):
        check_resumable(before, changed, Path("folder/file"))
