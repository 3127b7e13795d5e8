"""The variants of X and X^-1 (paper table 1) on one tokenizer that knows colours but no palette: reconstruct-only mIoU.

    python benchmarks/variants_study.py DATA --out benchmarks/results/variants.json --seeds 0 1

DATA is CamVid or another folder of images and annotations. For each seed a compact tokenizer is trained on labels
painted in new random colours every step, as a stand-in for the DALL-E dVAE, which knows pictures and not palettes. Then
each variant learns what it has to learn with that tokenizer frozen, and the val split is reconstructed. Finished cases
are skipped. `--group causes` runs TT with what may make it collapse, `--only` the named rows. It takes a GPU
where there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.variants.measure import measure
from benchmarks.variants.table import CAUSES, TABLE_1, VARIANTS
from gss.config import Recipe
from gss.config.loading import load_recipe
from gss.io.files import write_text
from gss.training.data import TrainingData, find_training_data
from gss.training.losses import class_weights
from gss.training.run import build_gss, run_stage
from gss.training.sampling import derive_seed
from gss.training.stages import TokenizerTraining

GROUPS = {"table-1": TABLE_1, "causes": CAUSES, "all": VARIANTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="camvid-small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--tokenizer-steps", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--group", choices=list(GROUPS), default="all")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), metavar="ROW", help="in place of a group")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    arguments = parser.parse_intermixed_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    for seed in arguments.seeds:
        names = arguments.only or list(GROUPS[arguments.group])
        waiting = [name for name in names if not any(r["seed"] == seed and r["variant"] == name for r in rows)]
        if not waiting:
            continue
        recipe = study_recipe(arguments, seed)
        data = find_training_data(recipe, arguments.data)
        state = trained_tokenizer(recipe, data)
        for name in waiting:
            row = measure(VARIANTS[name], recipe, data, state)
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


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("variant", "seeds", "mIoU", "at full size", "smallest distance", "on the way", "loss", "seconds")
    for name in dict.fromkeys(row["variant"] for row in rows):
        chosen = [row for row in rows if row["variant"] == name]

        def values(key: str, scale: float = 1.0, digits: int = 1, chosen: list[dict[str, Any]] = chosen) -> str:
            return " / ".join(f"{scale * row[key]:.{digits}f}" for row in chosen if key in row)

        courses = (row["distances"] for row in chosen if "distances" in row)
        table.add_row(
            name,
            " / ".join(str(row["seed"]) for row in chosen),
            values("mIoU", 100),
            values("mIoU_full_size", 100),
            values("min_distance"),
            " / ".join(" ".join(f"{distance:.0f}" for distance in course) for course in courses),
            values("classification", digits=2),
            values("seconds"),
        )
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
