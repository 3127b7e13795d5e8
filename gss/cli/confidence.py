"""The calibration in a run folder, for `gss evaluate --calibration` and `gss predict --abstain`, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from gss.prediction.calibration import Calibration

WEIGHTS = "model.safetensors"


def digest(run: Path) -> str:
    """Of the weights of a run folder.

    Raises FileNotFoundError for what is no folder on this machine, so that a calibration had no place in it.
    """
    from gss.training.checkpoint import weights_digest

    if not (run / WEIGHTS).is_file():
        raise FileNotFoundError(f"{run}: no {WEIGHTS}; a calibration is kept in the folder of a finished run")
    return weights_digest(run / WEIGHTS)


def load_calibration(run: Path) -> Calibration:
    """The calibration that `gss evaluate --calibration` left in a run folder.

    Raises FileNotFoundError where there is none, ValueError for one of other weights and for a damaged file.
    """
    from gss.prediction.calibration import FILE, Calibration

    path = run / FILE
    again = f"`gss evaluate {run} --data DIR --calibration` writes it"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, and without it no confidence; {again}")
    calibration = Calibration.load(path)
    if calibration.weights != digest(run):
        raise ValueError(f"{path}: made for other weights than those of {WEIGHTS}; {again} anew")
    return calibration


def table(report: Mapping[str, Any]) -> Table:
    """A row a score: how well it finds errors, and its calibration error before and after."""
    from rich.table import Table

    from gss.evaluation.metrics import percent

    found = Table(box=None, pad_edge=False)
    found.add_column("score")
    for name in ("AUROC of errors", "AURC", "above the best AURC", "ECE before", "ECE after"):
        found.add_column(name, justify="right")
    for name, values in report["scores"].items():
        order = [_number(values[key]) for key in ("auroc", "aurc", "excess_aurc")]
        errors = [percent(values["ece"][when]["width"]) if "ece" in values else "-" for when in ("before", "after")]
        found.add_row(name.replace("_", " "), *order, *errors)
    return found


def abstain_lines(report: Mapping[str, Any]) -> list[str]:
    """What `predict --abstain P` would keep of this split, by P."""
    from gss.evaluation.metrics import percent

    return [
        f"confidence of at least {threshold}: {percent(values['coverage'])} of the pixels, "
        f"{percent(values['accuracy'])} of them right"
        for threshold, values in report.get("abstain", {}).items()
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
