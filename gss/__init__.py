"""Generative semantic segmentation: a class is a colour, a segmentation is an image (arXiv 2303.11316).

    import gss

    model = gss.load("runs/demo")
    result = model.predict("street.jpg")
    result.save("out")

Importing `gss` is cheap: what stands below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gss._version import __version__

if TYPE_CHECKING:
    from gss.decoding import Decoded, decode
    from gss.model import GSS, load
    from gss.palette import Palette
    from gss.result import Result
    from gss.twin import PixelClassifier

__all__ = ["GSS", "Decoded", "Palette", "PixelClassifier", "Result", "__version__", "decode", "load"]

_HOME = {
    "Decoded": "gss.decoding",
    "GSS": "gss.model",
    "Palette": "gss.palette",
    "PixelClassifier": "gss.twin",
    "Result": "gss.result",
    "decode": "gss.decoding",
    "load": "gss.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
