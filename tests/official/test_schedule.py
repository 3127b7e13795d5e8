"""Learning rates against those of the official training hook (10_lr.json)."""

from gss.training.schedule import learning_rate_at
from tests.official.compare import assert_near
from tests.official.recordings import FOLDER, load_json


def test_learning_rates() -> None:
    cases = load_json(FOLDER / "10_lr.json")["cases"]
    assert cases
    for case in cases:
        assert case["warmup"] == "linear"
        steps, wanted = zip(*case["lr_before_step_of_iter"], strict=True)
        found = [
            learning_rate_at(
                step,
                base=case["base_lr"],
                steps=case["max_iters"],
                minimum=case["min_lr"],
                warmup_steps=case["warmup_iters"],
                warmup_ratio=case["warmup_ratio"],
                power=case["power"],
            )
            for step in steps
        ]
        assert_near("10_lr", "learning rates", found, wanted, atol=1e-18, rtol=1e-12)
