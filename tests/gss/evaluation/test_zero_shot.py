"""An MSeg model on miniature test sets in their official folders."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from gss.cli import main
from gss.data.sources.layouts import open_dataset
from gss.data.sources.mseg import TEST_SETS
from gss.data.sources.taxonomy import classes_of, universal_to_test
from gss.evaluation.metrics import harmonic_mean
from gss.evaluation.zero_shot import evaluate_test_set, evaluate_test_sets
from gss.model.loading import build_gss
from gss.model.views.predict import predict_scores
from gss.palette import Palette
from gss.training.run import save_model
from tests.gss.data.trees import TEST_FILES
from tests.gss.tiny import tiny_recipe


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mseg_dataset")
    generator = torch.Generator().manual_seed(0)
    for name, (image, label) in TEST_FILES.items():
        for file in (image, label):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(torch.randint(256, (40, 52, 3), generator=generator).byte().numpy()).save(folder / image)
        labels = torch.randint(len(classes_of(name)), (40, 52), generator=generator).byte()
        labels[:5] = 255
        Image.fromarray(labels.numpy()).save(folder / label)
    return folder


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_gss(tiny_recipe(palette="mseg"), Palette.named("mseg")).eval()


def test_all_six_and_their_harmonic_mean(root: Path, model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    results = evaluate_test_sets(
        model, root, progress=lambda name: lambda done, total: seen.append((name, done, total))
    )
    assert list(results) == [*TEST_SETS, "h.mean"]
    assert seen == [(name, 1, 1) for name in TEST_SETS]
    assert results["h.mean"] == harmonic_mean([results[name]["mIoU"] for name in TEST_SETS])
    assert set(results["voc2012"]["per_class"]) == set(classes_of("voc2012"))
    save_model(model, tmp_path)
    assert main(["evaluate", str(tmp_path), "--data", str(root), "--layout", "mseg"]) == 0
    assert "h.mean" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path), "--data", str(root), "--layout", "kitti-19", "--official-parity"]) == 0


@torch.inference_mode()
@pytest.mark.parametrize("name", ["camvid-11", "voc2012"])
def test_votes_are_added_up_by_test_class(root: Path, model, name: str) -> None:
    dataset = open_dataset(root, "val", layout=name)
    pair = dataset[0]
    votes = predict_scores(model.image_scores, pair["image"][None], model.inference, softmax=False)[0]
    assert torch.allclose(votes.sum(0), torch.ones(40, 52), atol=1e-5)
    table = universal_to_test(name)[:194].long()
    right = official = counted = 0
    summed = torch.zeros(len(classes_of(name)), 40, 52)
    for k in range(194):
        if table[k] != 255:
            summed[table[k]] += votes[k]
    best = torch.where(summed.max(0).values > 0, summed.argmax(0), 255)
    first = table[votes.argmax(0)]
    known = pair["label"] != 255
    counted = int(known.sum())
    right = int((best == pair["label"])[known].sum())
    official = int((torch.where(first == 255, 0, first) == pair["label"])[known].sum())
    assert evaluate_test_set(model, dataset, name)["aAcc"] == pytest.approx(right / counted)
    parity = evaluate_test_set(model, dataset, name, official_parity=True)
    assert parity["aAcc"] == pytest.approx(official / counted)


def test_other_models_and_missing_sets_are_refused(root: Path, model, tmp_path: Path) -> None:
    other = build_gss(tiny_recipe(), Palette.named("scenes"))
    dataset = open_dataset(root, "val", layout="kitti-19")
    with pytest.raises(
        ValueError, match="model: expected the 194 classes of MSeg, which are mapped to those of kitti-19"
    ):
        evaluate_test_set(other, dataset, "kitti-19")
    with pytest.raises(FileNotFoundError):
        evaluate_test_sets(model, tmp_path)
