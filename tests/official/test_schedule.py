"""Learning rates against those recorded from the official training hook (10_lr.json)."""

import json
import os
from pathlib import Path

import pytest

from gss.training.schedule import WARMUP_RATIO, learning_rate_at

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES")


def test_learning_rates() -> None:
    cases = json.loads((Path(FOLDER) / "10_lr.json").read_text())["cases"]
    assert cases
    for case in cases:
        assert (case["warmup"], case["warmup_ratio"], case["min_lr"]) == ("linear", WARMUP_RATIO, 0.0)
        for step, wanted in case["lr_before_step_of_iter"]:
            found = learning_rate_at(
                step,
                base=case["base_lr"],
                steps=case["max_iters"],
                warmup_steps=case["warmup_iters"],
                power=case["power"],
            )
            assert found == pytest.approx(wanted, rel=1e-12, abs=1e-18)
