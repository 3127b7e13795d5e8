"""Generative semantic segmentation: a class is a colour, a segmentation is an image (arXiv 2303.11316).

    import gss

    model = gss.load("runs/demo/run")
    result = model.predict("street.jpg")
    result.save("out")

`import gss` is cheap: each public name is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gss.config.loading import list_recipes, load_recipe
    from gss.evaluation.scores import evaluate
    from gss.model.classifier import PixelClassifier
    from gss.model.gss import GSS
    from gss.model.loading import load
    from gss.model.result import Result
    from gss.palette import Palette
    from gss.prediction.painted import Decoded, decode
    from gss.training.run import train

__all__ = [
    "GSS",
    "Decoded",
    "Palette",
    "PixelClassifier",
    "Result",
    "__version__",
    "decode",
    "evaluate",
    "list_recipes",
    "load",
    "load_recipe",
    "train",
]

_HOME = {
    "Decoded": "gss.prediction.painted",
    "GSS": "gss.model.gss",
    "Palette": "gss.palette",
    "PixelClassifier": "gss.model.classifier",
    "Result": "gss.model.result",
    "decode": "gss.prediction.painted",
    "evaluate": "gss.evaluation.scores",
    "list_recipes": "gss.config.loading",
    "load": "gss.model.loading",
    "load_recipe": "gss.config.loading",
    "train": "gss.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
