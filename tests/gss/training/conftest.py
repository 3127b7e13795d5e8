"""A few scenes and a finished tiny run on them, for tests that only read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gss.scenes import generate_scenes
from gss.training.run import train
from tests.gss.tiny import tiny_recipe


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four train and two val scenes of 48 x 64 pixels."""
    folder = tmp_path_factory.mktemp("scenes")
    generate_scenes(folder, train=4, val=2, size=(48, 64), seed=0)
    return folder


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `tiny_recipe()` on `data`."""
    with one_thread():
        return train(tiny_recipe(), data, tmp_path_factory.mktemp("run") / "gss")


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums depend on the number of threads, and processes that tests start have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield
