"""The examples in the docstrings of the public operations print what they say, on every CPU backend."""

import doctest
import inspect

import pytest

import gsskernels
from gsskernels import codebook, maskige


@pytest.mark.backends("reference", "native")
@pytest.mark.parametrize("module", [codebook, maskige])
def test_examples(module: object) -> None:
    results = doctest.testmod(module)
    assert results.failed == 0 and results.attempted > 0


@pytest.mark.backends("reference")
@pytest.mark.parametrize("name", gsskernels.__all__)
def test_every_operation_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(gsskernels, name)) or "")
