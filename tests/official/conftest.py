"""These tests compare with tensors recorded from the official code; GSS_OFFICIAL_FIXTURES names their folder."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def recordings() -> None:
    if not os.environ.get("GSS_OFFICIAL_FIXTURES"):
        pytest.skip("GSS_OFFICIAL_FIXTURES does not name a folder of recorded tensors")
