"""README.md of a run: a model card that huggingface_hub reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from gss.model.loading import build_model
from gss.palette import Palette
from gss.training.card import add_metrics, model_card
from gss.training.run import save_model
from tests.gss.tiny import tiny_recipe

NASTY = "a | `b` <script>\n---\n# {{ c }} **d**"
ESCAPED = r"a \| \`b\` \<script\> --- \# \{\{ c \}\} \*\*d\*\*"


def test_the_card_of_a_run(run: Path) -> None:
    card = ModelCard.load(run / "README.md")
    assert card.data.library_name == "gss" and card.data.license == "unknown"
    assert card.data.pipeline_tag == "image-segmentation" and {"gss", "semantic-segmentation"} <= {*card.data.tags}
    for text in (
        'gss.load("hf://OWNER/NAME")',
        "Recipe tiny",
        "| prior | 3 | 2 | 0.001 |",
        "4 training images of scenes",
        "- pavement\n",
        "trained with `gss` 0.1.0",
    ):
        assert text in card.content, text


def test_metrics_are_added_and_replaced(run: Path, tmp_path: Path) -> None:
    card = (run / "README.md").read_text()
    (tmp_path / "README.md").write_text(card)
    for mean in (0.25, 0.5):
        add_metrics(tmp_path, {"mIoU": mean, "aAcc": 0.75, "per_class": {}}, "scenes")
    results = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert [(r.dataset_name, r.metric_name, r.metric_value) for r in results] == [
        ("scenes", "mIoU", 0.5),
        ("scenes", "aAcc", 0.75),
    ]
    assert (tmp_path / "README.md").read_text().partition("# tiny")[2] == card.partition("# tiny")[2]


def test_names_are_shown_as_they_are() -> None:
    colors = ((0, 0, 0), (255, 0, 0))
    recipe = tiny_recipe(name=NASTY, description=NASTY)
    card = model_card("gss", Palette(NASTY, (NASTY, "b"), colors), recipe, None, {"prior": recipe.prior_stage})
    assert card.data.model_name == NASTY
    assert f"\n# {ESCAPED}\n" in card.content and f"Recipe {ESCAPED}: {ESCAPED}\n" in card.content
    assert f"- {ESCAPED}\n- b\n" in card.content


@pytest.mark.parametrize("kind", ["gss", "pixel-classifier"])
def test_a_model_without_a_recipe_has_a_card_too(tmp_path: Path, kind: str) -> None:
    save_model(build_model(tiny_recipe(model=kind), Palette.named("scenes")), tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert f"\n# {kind}\n" in card.content and "## Training" not in card.content and "- sky" in card.content
    assert sorted(file.name for file in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
