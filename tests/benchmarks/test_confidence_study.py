import json
import math
import sys
from pathlib import Path

import pytest
import torch

import gss
from benchmarks import confidence_study
from gss.palette import Palette
from gss.scenes import generate_scenes
from gss.training.run import build_gss, save_model
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")


@pytest.fixture(scope="module")
def model() -> gss.GSS:
    torch.manual_seed(0)
    return build_gss(tiny_recipe(), PALETTE).eval()


def test_the_study_writes_every_table(model, tmp_path: Path, monkeypatch, capsys) -> None:
    generate_scenes(tmp_path / "data", train=1, val=4, size=(48, 64), seed=0)
    recipe = tiny_recipe()
    twin = gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior))
    for name, network in (("run", model), ("twin", twin)):
        (tmp_path / name).mkdir()
        save_model(network, tmp_path / name)
    arguments = [str(tmp_path / "run"), "--twin", str(tmp_path / "twin"), "--data", str(tmp_path / "data")]
    options = ["--device", "cpu", "--timed", "1", "--note", "untrained", "--out", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", ["confidence_study.py", *arguments, *options])
    confidence_study.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["note"], found["device"]) == ("untrained", "cpu") and found["images"] == found["votes"]["images"] == 4
    assert set(found["curves"]["run"]) == {"log(1 + m)", "sqrt(m)", "m", "m^2"}
    assert "2 atanh(m)" in found["curves"]["twin"]
    assert all(math.isfinite(values["nll"]) for values in found["curves"]["run"].values())
    assert list(found["calibration"]["run"]["scores"]) == ["margin", "certainty"]
    assert list(found["certainty curves"]) == ["-H", "-sqrt(H)", "exp(-H)", "log-odds of exp(-H)"]
    log_odds = found["certainty curves"]["log-odds of exp(-H)"]
    assert log_odds["ece"] == pytest.approx(found["calibration"]["run"]["scores"]["certainty"]["ece"]["after"]["width"])
    assert 0 <= found["votes"]["margin + vote entropy"]["auroc"] <= 1
    assert 0 <= found["votes"]["certainty"]["auroc"] <= 1
    assert list(found["cost"]["median_seconds"]) == ["prediction", "1 draws", "4 draws", "16 draws"]
    assert "twin" in json.loads(capsys.readouterr().out)["calibration"]
