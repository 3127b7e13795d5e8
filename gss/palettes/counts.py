"""Confusion matrices and other counts of class pairs from files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gss.io.files import PathLike


def read_counts(path: PathLike, num_classes: int) -> np.ndarray:
    """A matrix float64 (K, K), rows are target classes, from NAME.npy or NAME.json.

    The JSON is a list of rows, or an object that has one under "confusion". Raises FileNotFoundError, and ValueError
    naming the file for other contents and for a matrix of another size.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in (".npy", ".json"):
        raise ValueError(f"{file}: expected a confusion matrix in a file NAME.npy or NAME.json")
    try:
        if suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            values = json.loads(file.read_text(encoding="utf-8"))
            values = values["confusion"] if isinstance(values, dict) else values
        counts = np.asarray(values, np.float64)
    except KeyError:
        raise ValueError(f'{file}: expected a list of rows, or an object with the key "confusion"') from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: not a matrix of numbers: {error}") from error
    if counts.shape != (num_classes, num_classes):
        raise ValueError(f"{file}: expected a matrix ({num_classes}, {num_classes}), got shape {counts.shape}")
    return counts
