"""The examples in docstrings run and print what they show."""

import doctest
import importlib
import pkgutil

import pytest

ROOMS = ("gss.palette", "gss.palettes", "gss.data", "gss.evaluation", "gss.scenes", "gss.cli")


def modules_of(room: str) -> list[str]:
    package = importlib.import_module(room)
    if not hasattr(package, "__path__"):
        return [room]
    found = [module.name for module in pkgutil.walk_packages(package.__path__, f"{room}.")]
    return [room, *(name for name in found if not name.endswith("__main__"))]


@pytest.mark.parametrize("room", ROOMS)
def test_examples(room: str) -> None:
    attempted = 0
    for name in modules_of(room):
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
        assert result.failed == 0, name
        attempted += result.attempted
    assert attempted > 0
