from __future__ import annotations

import pytest

from gss.io import rows
from gss.prediction.painted import picture


@pytest.fixture(params=["pillow", "libvips"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every file goes through Pillow, then, where its format allows it, through libvips, in bands of a few rows."""
    monkeypatch.setattr(picture, "BAND_PIXELS", 25)
    if request.param == "libvips":
        pytest.importorskip("pyvips", reason="pyvips, the extra gss[large], is not installed")
        monkeypatch.setattr(rows, "STREAMED", 0)
    return request.param
