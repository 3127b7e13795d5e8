import json
import math
import sys
from pathlib import Path

import pytest
import torch

import gss
from benchmarks import confidence_study
from gss.data.scenes import generate_scenes
from gss.palette import Palette
from gss.training.run import build_gss, save_model
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")


@pytest.fixture(scope="module")
def model() -> gss.GSS:
    torch.manual_seed(0)
    return build_gss(tiny_recipe(), PALETTE).eval()


@torch.inference_mode()
def test_marginal_entropy_counts_each_token_by_its_probability(model) -> None:
    image = torch.randint(256, (3, 14, 18), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    found = confidence_study.marginal_entropy(model, image, model.code_patches())
    assert found.shape == (14, 18)
    _, hidden = model.trunk(model.encoder(gss.inference.pad_to_alignment(image[None])))
    logits = model.token_head.weight @ hidden[0, :, 2, 1] + model.token_head.bias
    painted = model.code_patches().view(32, 4, 8).argmax(-1)
    # pixel (y, x) of the 4x4 cell (2, 1) shows pixel (y // 2, x // 2) of the 2x2 that its token paints
    for y, x in ((0, 0), (1, 3), (3, 2)):
        if 8 + y < 14:
            probability = torch.zeros(8).index_add(0, painted[:, 2 * (y // 2) + x // 2], logits.softmax(0))
            entropy = -float(torch.special.xlogy(probability, probability).sum())
            assert float(found[8 + y, 4 + x]) == pytest.approx(entropy, abs=1e-5)


def test_the_study_writes_every_table(model, tmp_path: Path, monkeypatch, capsys) -> None:
    generate_scenes(tmp_path / "data", train=1, val=4, size=(48, 64), seed=0)
    recipe = tiny_recipe()
    twin = gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior))
    for name, network in (("run", model), ("twin", twin)):
        (tmp_path / name).mkdir()
        save_model(network, tmp_path / name)
    arguments = [str(tmp_path / "run"), "--twin", str(tmp_path / "twin"), "--data", str(tmp_path / "data")]
    options = ["--timed", "1", "--note", "untrained", "--out", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", ["confidence_study.py", *arguments, *options])
    confidence_study.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["note"] == "untrained" and found["images"] == found["votes"]["images"] == 4
    assert set(found["curves"]["run"]) == {"log(1 + m)", "sqrt(m)", "m", "m^2"}
    assert "2 atanh(m)" in found["curves"]["twin"]
    assert all(math.isfinite(values["nll"]) for values in found["curves"]["run"].values())
    assert 0 <= found["votes"]["margin + vote entropy"]["auroc"] <= 1
    assert list(found["cost"]["median_seconds"]) == ["prediction", "1 draws", "4 draws", "16 draws"]
    assert "twin" in json.loads(capsys.readouterr().out)["calibration"]
