"""Whole trainings on CamVid: every variant of the paper and the per-pixel twin, several seeds, scored end to end.

    python -m experiments.camvid DATA --runs runs/camvid --out experiments/results/camvid_study.json --jobs 2

Each case is `gss train`, `gss evaluate --calibration` and `gss ceiling` on the val split. GSS-FT and FT-W differ from
camvid-small only by X^-1, which learns from labels: they start from the finished run of the same seed.
"""

from __future__ import annotations

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.runs import Case, by_name, parser, percent, study

FROM_LABELS = ("stages=[inverse]",)


def cases(seed: int) -> list[Case]:
    same = [Case(name, name, seed) for name in ("camvid-small", "camvid-small-ff-r", "camvid-small-tf",
                                               "camvid-small-tt")]  # fmt: skip
    built = [Case(name, name, seed, FROM_LABELS, "camvid-small") for name in ("camvid-small-ft", "camvid-small-ft-w")]
    return [*same, *built, Case("camvid-small-twin", "camvid-small-twin", seed, scores=("evaluate",))]


def main() -> None:
    given = parser(__doc__ or "").parse_intermixed_args()
    rows = study([case for seed in given.seeds for case in cases(seed)], given)
    table = Table("recipe", "seeds", "mIoU", "mean", "mAcc", "aAcc", "ceiling", "ECE before", "ECE after")
    for name, own in by_name(rows).items():
        table.add_row(
            name,
            " / ".join(str(row["seed"]) for row in own),
            percent(own, "evaluate", "mIoU"),
            f"{100 * statistics.fmean(row['evaluate']['mIoU'] for row in own):.1f}",
            percent(own, "evaluate", "mAcc"),
            percent(own, "evaluate", "aAcc"),
            percent(own, "ceiling", "mIoU_full_size"),
            " / ".join(f"{100 * calibration_error(row, 'before'):.1f}" for row in own),
            " / ".join(f"{100 * calibration_error(row, 'after'):.1f}" for row in own),
        )
    Console(width=170).print(table)


def calibration_error(row: dict[str, Any], when: str) -> float:
    """Expected calibration error of the score that the run's confidence is fitted on."""
    confidence = row["evaluate"]["confidence"]
    return confidence["scores"][confidence["score"]]["ece"][when]["width"]


if __name__ == "__main__":
    main()
