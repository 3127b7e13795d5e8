"""The examples in the docstrings of gss.prediction and gss.io do what they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import walk_packages

import pytest

import gss.io
import gss.prediction

MODULES = [
    module.name
    for room in (gss.io, gss.prediction)
    for module in walk_packages(room.__path__, f"{room.__name__}.")
    if not module.ispkg
]
WITHOUT = {  # internal, or of pictures too large to show
    "gss.io.pillow",
    "gss.io.rows",
    "gss.io.strip",
    "gss.prediction.painted.nearest",
    "gss.prediction.painted.picture",
}


@pytest.mark.parametrize("name", [module for module in MODULES if module not in WITHOUT])
def test_examples(name: str) -> None:
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0 and results.failed == 0
