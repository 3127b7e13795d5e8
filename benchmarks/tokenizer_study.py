"""Which compact tokenizer? Reconstruct-only mIoU against tokens an image and cost, on one data folder.

    python benchmarks/tokenizer_study.py --data DIR --out study.json --seeds 0 1

Every variant is the recipe's tokenizer with a few fields changed, trained for the same number of steps on the same
crops, then measured like `gss ceiling`. Rows are added to the JSON file as they finish; a finished variant is skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from gss.config.loading import load_recipe
from gss.data.sources.folder import FolderDataset
from gss.evaluation.ceiling import ceiling
from gss.io.files import write_text
from gss.training.data import find_training_data
from gss.training.losses import class_weights
from gss.training.run import build_gss, run_stage
from gss.training.sampling import derive_seed
from gss.training.stages import TokenizerTraining

# Name -> overrides. The first is the recipe itself.
VARIANTS: dict[str, list[str]] = {
    "stride 2, 512 codes": [],
    "stride 2, 128 codes": ["tokenizer.codes=128"],
    "stride 2, 512 codes of 4 dimensions": ["tokenizer.code_dim=4"],
    "stride 2, colour loss only": ["tokenizer.classification=0.0"],
    "stride 2, no class balance": ["tokenizer.class_balance=0.0"],
    "stride 4, 2048 codes, width 96": [
        "tokenizer.stride=4",
        "tokenizer.codes=2048",
        "tokenizer.code_dim=32",
        "tokenizer.width=96",
        "tokenizer.encoder_blocks=2",
        "tokenizer.decoder_blocks=3",
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON file with one row a variant")
    parser.add_argument("--recipe", default="camvid-small")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    done = {(row["variant"], row["steps"], row["seed"]) for row in rows}
    for name, overrides in VARIANTS.items():
        for seed in arguments.seeds:
            if (name, arguments.steps, seed) in done:
                continue
            rows.append(measure(name, overrides, seed, arguments))
            write_text(arguments.out, json.dumps(rows, indent=2) + "\n")
    show(rows)


def measure(name: str, overrides: list[str], seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    recipe = load_recipe(arguments.recipe, [*overrides, f"tokenizer_stage.steps={arguments.steps}", f"seed={seed}"])
    data = find_training_data(recipe, arguments.data)
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    model = build_gss(recipe, data.palette)
    assert data.pixels is not None  # counted, since the files were checked
    stage = TokenizerTraining(model, class_weights(data.pixels, recipe.tokenizer.class_balance))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        run_stage("tokenizer", stage, recipe.tokenizer_stage, recipe, data, Path(run), resume=False)
    seconds = time.perf_counter() - start
    scores = ceiling(model.eval(), FolderDataset(arguments.data, "val", data.palette))
    return {
        "variant": name,
        "steps": arguments.steps,
        "seed": seed,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "parameters": model.num_parameters()["tokenizer"],
        "maskige_scale": scores["maskige_scale"],
        "tokens_per_image": scores["tokens_per_image"],
        "mIoU": scores["mIoU"],
        "mIoU_full_size": scores["mIoU_full_size"],
        "codes_used": scores["codes_used"],
        "perplexity": scores["perplexity"],
        "tokenizer": asdict(recipe.tokenizer),
    }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(
        "variant", "steps", "seed", "parameters", "tokens/image", "ceiling", "at full size", "codes used", "seconds"
    )
    for row in rows:
        table.add_row(
            row["variant"],
            str(row["steps"]),
            str(row["seed"]),
            f"{row['parameters']:,}",
            f"{row['tokens_per_image']:,.0f}",
            f"{100 * row['mIoU']:.1f} %",
            f"{100 * row['mIoU_full_size']:.1f} %",
            str(row["codes_used"]),
            str(row["seconds"]),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
