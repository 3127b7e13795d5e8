"""The variants of X and X^-1 (paper table 1) on one tokenizer that knows colours but no palette: reconstruct-only mIoU.

    python benchmarks/variants_study.py DATA --out benchmarks/results/variants.json --seeds 0 1

DATA is CamVid or another folder of images and annotations. For each seed a compact tokenizer is trained on labels
painted in new random colours every step, as a stand-in for the DALL-E dVAE, which knows pictures and not palettes. Then
each variant learns what it has to learn with that tokenizer frozen, and the val split is reconstructed. Finished cases
are skipped.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from gss.colors.assign import pair_weights
from gss.colors.fit import fit_palette
from gss.config import InverseConfig, PosteriorConfig, Recipe
from gss.data.adjacency import touching_classes
from gss.data.layouts import open_dataset
from gss.files import write_text
from gss.model import GSS
from gss.palette import Palette
from gss.recipe import load_recipe
from gss.reconstruction import ceiling
from gss.training.data import TrainingData, find_training_data
from gss.training.losses import class_weights
from gss.training.posterior import PosteriorTraining
from gss.training.run import build_gss, run_stage
from gss.training.sampling import derive_seed
from gss.training.stages import InverseTraining, TokenizerTraining

NETWORK = InverseConfig(type="convolution", channels=32, source="labels")
WINDOWS = InverseConfig(type="window", channels=32, depth=2, heads=4, source="labels")
LEARN = PosteriorConfig(learn=True)
SPREAD = PosteriorConfig(learn=True, spread=0.5)
GUMBEL = PosteriorConfig(learn=True, estimator="gumbel")


@dataclass
class Variant:
    """Which colours (see `study_palette`), which X^-1, how the palette is learned if it is, whether X^-1 is trained
    afterwards on its own; the learning rate of the joint training against the others', and whether learned colours are
    kept inside the colour cube."""

    palette: str = "own"
    inverse: InverseConfig = field(default_factory=InverseConfig)
    posterior: PosteriorConfig | None = None
    afterwards: bool = False
    rate: float = 1.0
    bounded: bool = True


VARIANTS = {
    "FF": Variant(),
    "FF-R": Variant("random"),
    "FF, fitted": Variant("fitted"),
    "FF, fitted, touching classes far apart": Variant("distance"),
    "FF, fitted, none between touching classes": Variant("blend"),
    "FT": Variant(inverse=NETWORK, afterwards=True),
    "FT-W": Variant(inverse=WINDOWS, afterwards=True),
    "TF": Variant(posterior=LEARN),
    "TF, gumbel": Variant(posterior=GUMBEL),
    "TF from random colours": Variant("random", posterior=LEARN),
    "TT": Variant(inverse=NETWORK, posterior=LEARN),
    "TT, gumbel": Variant(inverse=NETWORK, posterior=GUMBEL),
    "TT from random colours": Variant("random", NETWORK, LEARN),
    "TT, spread": Variant(inverse=NETWORK, posterior=SPREAD),
    "TT, spread, from random colours": Variant("random", NETWORK, SPREAD),
    "TT, ten times the rate": Variant(inverse=NETWORK, posterior=LEARN, rate=10),
    "TT, unbounded colours": Variant(inverse=NETWORK, posterior=LEARN, bounded=False),
    "TT, unbounded colours, ten times the rate": Variant(inverse=NETWORK, posterior=LEARN, rate=10, bounded=False),
    "TF, then FT": Variant(inverse=NETWORK, posterior=LEARN, afterwards=True),
}


class UnboundedColors(PosteriorTraining):
    """The colours themselves are the parameters, and may leave the colour cube while they are learned."""

    def __init__(self, model: GSS, class_weights: torch.Tensor, config: PosteriorConfig) -> None:
        super().__init__(model, class_weights, config)
        self.color_logits = torch.nn.Parameter(model.maskige.colors / 255)

    def colors(self) -> torch.Tensor:
        return self.color_logits if self.training else self.color_logits.clamp(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="camvid-small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--tokenizer-steps", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    arguments = parser.parse_intermixed_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    for seed in arguments.seeds:
        waiting = [name for name in arguments.only if not any(r["seed"] == seed and r["variant"] == name for r in rows)]
        if not waiting:
            continue
        recipe = study_recipe(arguments, seed)
        data = find_training_data(recipe, arguments.data)
        state = trained_tokenizer(recipe, data)
        for name in waiting:
            row = measure(name, recipe, data, state)
            rows.append({"variant": name, "seed": seed, "steps": arguments.steps, **row})
            write_text(arguments.out, json.dumps(rows, indent=1) + "\n")
    show(rows)


def study_recipe(arguments: argparse.Namespace, seed: int) -> Recipe:
    """A coarse tokenizer, so that there is something left to win, and stages of equal length for all variants."""
    tokenizer = ["tokenizer.any_palette=true", "tokenizer.stride=4", "tokenizer.codes=512", "tokenizer.width=48"]
    stages = [f"tokenizer_stage.steps={arguments.tokenizer_steps}", f"seed={seed}"]
    recipe = load_recipe(arguments.recipe, [*tokenizer, *stages, *arguments.overrides])
    stage = replace(recipe.tokenizer_stage, steps=arguments.steps, learning_rate=0.005, weight_decay=0.0)
    return replace(recipe, posterior_stage=stage, inverse_stage=stage)


def trained_tokenizer(recipe: Recipe, data: TrainingData) -> dict[str, torch.Tensor]:
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    model = build_gss(recipe, data.palette)
    assert data.pixels is not None  # counted, since the files were checked
    stage = TokenizerTraining(model, class_weights(data.pixels, 0.5))
    with tempfile.TemporaryDirectory() as run:
        run_stage("tokenizer", stage, recipe.tokenizer_stage, recipe, data, Path(run), resume=False)
    return model.tokenizer.state_dict()


def measure(name: str, recipe: Recipe, data: TrainingData, tokenizer: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Train what the variant learns, reconstruct the val split."""
    variant = VARIANTS[name]
    palette = study_palette(variant.palette, data, recipe.seed)
    recipe = replace(recipe, inverse=variant.inverse)
    torch.manual_seed(derive_seed(recipe.seed, "variant"))
    model = build_gss(recipe, palette)
    model.tokenizer.load_state_dict(tokenizer)
    assert data.pixels is not None
    weights = class_weights(data.pixels, 0.5)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        if variant.posterior is not None:
            # a palette is first learned alone where X^-1 is trained afterwards
            learner = codec_with_nearest_colour(model, recipe, palette) if variant.afterwards else model
            stage = (PosteriorTraining if variant.bounded else UnboundedColors)(learner, weights, variant.posterior)
            rate = variant.rate * recipe.posterior_stage.learning_rate
            config = replace(recipe.posterior_stage, learning_rate=rate)
            run_stage("posterior", stage, config, recipe, data, Path(run), resume=False)
            stage.finish()
            model.set_palette(learner.palette)
        if variant.afterwards:
            run_stage(
                "inverse", InverseTraining(model, weights), recipe.inverse_stage, recipe, data, Path(run), resume=False
            )
    seconds = time.perf_counter() - start
    scores = ceiling(model.eval(), open_dataset(data.root, "val", data.palette))
    return {
        "seconds": round(seconds, 1),
        "mIoU": scores["mIoU"],
        "mIoU_full_size": scores["mIoU_full_size"],
        "min_distance": model.palette.min_distance()[0],
        "tokens_per_image": scores["tokens_per_image"],
        "palette": [list(color) for color in model.palette.colors],
    }


def codec_with_nearest_colour(model: GSS, recipe: Recipe, palette: Palette) -> GSS:
    alone = build_gss(replace(recipe, inverse=InverseConfig()), palette)
    alone.tokenizer.load_state_dict(model.tokenizer.state_dict())
    return alone


def study_palette(kind: str, data: TrainingData, seed: int) -> Palette:
    """The data's colours, random ones, fitted ones, or these assigned by which classes touch in the train split."""
    palette = data.palette
    if kind == "own":
        return palette
    if kind == "random":
        return random_palette(palette, seed)
    if kind == "fitted":
        return fit_palette(palette.class_names, seed=seed)
    weights = pair_weights(touching_classes(data.pairs, palette.num_classes).numpy())
    return fit_palette(palette.class_names, seed=seed, weights=weights, goal=kind)


def random_palette(palette: Palette, seed: int) -> Palette:
    draw = random.Random(seed)
    colors = tuple((draw.randrange(256), draw.randrange(256), draw.randrange(256)) for _ in palette.colors)
    return Palette(f"{palette.name}-random", palette.class_names, colors, palette.ignore_color)


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("variant", "seeds", "mIoU", "at full size", "smallest distance", "seconds")
    for name in dict.fromkeys(row["variant"] for row in rows):
        chosen = [row for row in rows if row["variant"] == name]

        def values(key: str, scale: float = 1.0, chosen: list[dict[str, Any]] = chosen) -> str:
            return " / ".join(f"{scale * row[key]:.1f}" for row in chosen)

        seeds = " / ".join(str(row["seed"]) for row in chosen)
        table.add_row(
            name, seeds, values("mIoU", 100), values("mIoU_full_size", 100), values("min_distance"), values("seconds")
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
