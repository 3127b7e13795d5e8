"""The examples in the docstrings of the model room run and print what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["attention", "codec", "gss", "maskige", "result"])
def test_examples(name: str) -> None:
    results = doctest.testmod(import_module(f"gss.model.{name}"))
    assert results.attempted > 0 and results.failed == 0
