"""Token stride, codebook size and width of the compact tokenizer: its ceiling against tokens an image and cost.

    python -m benchmarks.many_classes --classes 150 --out DIR150
    python -m benchmarks.tokenizer_sizes --data CAMVID DIR150 --out benchmarks/results/tokenizer_sizes.json

Maskiges are as large as the images, so that a token of stride S stands for S x S pixels of the image. (A model looks at
other scales: its grid has a token every 4 pixels, whatever the stride.) Every case is trained for the same number of
steps on the same crops, then measured like `gss ceiling --scale 1`. Rows are added to the JSON file as they finish; a
finished case is skipped, so an interrupted study goes on. --cases picks some, as STRIDExCODESxWIDTH.

The last rows of the table are the DALL-E dVAE, at the scale of the paper's own evaluation (1) and of the official model
(2 maskige pixels an image pixel): its cost, and with --dalle DIR its ceiling too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.tokenizer_cost import tokenizer_cost
from gss.config import AugmentationConfig, CompactConfig, DalleConfig, Recipe, StageConfig
from gss.convert.dalle import read_dalle
from gss.data.sources.layouts import detect_label_layout, open_dataset
from gss.evaluation.ceiling import ceiling
from gss.io.files import write_text
from gss.model.codec import MaskigeCodec
from gss.model.tokenizers.protocol import build_tokenizer
from gss.palette import get_palette
from gss.training.data import TrainingData, find_training_data
from gss.training.losses import class_weights
from gss.training.run import run_stage
from gss.training.sampling import derive_seed
from gss.training.stages import TokenizerTraining

# (stride, codes, width): along each axis from one in the middle, then the largest at the coarse end.
CASES = (
    (4, 512, 48),
    (2, 512, 48),
    (8, 512, 48),
    (4, 2048, 48),
    (4, 128, 48),
    (4, 512, 96),
    (8, 2048, 96),
)
STAGE = StageConfig(
    steps=300,
    batch_size=8,
    learning_rate=2e-3,
    weight_decay=1e-4,
    warmup_steps=50,
    clip_norm=1.0,
    checkpoint_every=10**6,
    log_every=50,
    augmentation=AugmentationConfig(scale=(0.75, 1.5), crop=(96, 96), flip=0.5, photometric=False),
)


class AtImageSize(TokenizerTraining):
    """Stage 1 with maskiges as large as the images, instead of the size that the model's grid asks for."""

    def maskige_labels(self, labels: Tensor) -> Tensor:
        return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="DIR")
    parser.add_argument("--palette", metavar="NAME|FILE", default="camvid", help="where DIR has no palette.json")
    parser.add_argument("--replace-palette", metavar="NAME|FILE", help="these colours instead of those of the data")
    parser.add_argument("--out", type=Path, required=True, help="JSON file with one row a case")
    parser.add_argument("--cases", nargs="*", default=["x".join(map(str, case)) for case in CASES])
    parser.add_argument("--steps", type=int, default=STAGE.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ema-decay", type=float, default=CompactConfig.ema_decay)
    parser.add_argument(
        "--classification", type=float, default=CompactConfig.classification, help="0: colour loss only"
    )
    parser.add_argument("--dalle", type=Path, metavar="DIR", help="where encoder.pkl and decoder.pkl are")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    for root in arguments.data:
        recipe = Recipe(palette=arguments.palette, seed=arguments.seed)
        data = find_training_data(recipe, root, detect_label_layout(root))
        if arguments.replace_palette:
            colors = get_palette(arguments.replace_palette)
            data = replace(data, palette=replace(data.palette, name=colors.name, colors=colors.colors))
        for case in arguments.cases:
            stride, codes, width = map(int, case.split("x"))
            config = CompactConfig(
                stride=stride,
                codes=codes,
                width=width,
                ema_decay=arguments.ema_decay,
                classification=arguments.classification,
            )
            key = {"data": root.name, "palette": data.palette.name, "steps": arguments.steps, "seed": arguments.seed,
                   "tokenizer": asdict(config)}  # fmt: skip
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append({**key, **train_and_measure(config, recipe, data, arguments)})
            write_text(arguments.out, json.dumps(rows, indent=2) + "\n")
        for scale in (1, 2):
            key = {"data": root.name, "palette": data.palette.name, "tokenizer": asdict(DalleConfig()), "scale": scale}
            if any(key.items() <= row.items() and (arguments.dalle is None or "mIoU" in row) for row in rows):
                continue
            rows = [row for row in rows if not key.items() <= row.items()]
            rows.append({**key, **dalle_row(data, scale, arguments.dalle)})
            write_text(arguments.out, json.dumps(rows, indent=2) + "\n")
    show(rows)


def train_and_measure(
    config: CompactConfig, recipe: Recipe, data: TrainingData, arguments: argparse.Namespace
) -> dict[str, Any]:
    torch.manual_seed(derive_seed(arguments.seed, "weights"))
    codec = MaskigeCodec(data.palette, build_tokenizer(config))
    assert data.pixels is not None  # counted, since the files were checked
    stage = AtImageSize(codec, class_weights(data.pixels, config.class_balance))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        settings = replace(STAGE, steps=arguments.steps)
        run_stage("tokenizer", stage, settings, recipe, data, Path(run), resume=False)
    seconds = time.perf_counter() - start
    parameters = sum(p.numel() for p in codec.tokenizer.parameters()) + codec.tokenizer.codebook.numel()
    return {"scale": 1, "seconds": round(seconds, 1), "parameters": parameters, **machine(),
            **measured(codec, data, 1), **cost_row(config)}  # fmt: skip


def dalle_row(data: TrainingData, scale: int, folder: Path | None) -> dict[str, Any]:
    """Cost and tokens of the published dVAE, and where its weights are at hand its ceiling."""
    if folder is not None:
        codec = MaskigeCodec(data.palette, read_dalle(folder / "encoder.pkl", folder / "decoder.pkl")).eval()
        return {**machine(), **measured(codec, data, scale), **cost_row(DalleConfig())}
    labels = open_labels(data)
    tokens = [scale**2 * (label.shape[-2] // 8) * (label.shape[-1] // 8) for label in (x["label"] for x in labels)]
    return {"tokens_per_image": sum(tokens) / len(tokens), **cost_row(DalleConfig())}


def measured(codec: MaskigeCodec, data: TrainingData, scale: int) -> dict[str, Any]:
    scores = ceiling(codec.eval(), open_labels(data), scale=scale)
    return {key: scores[key] for key in ("tokens_per_image", "mIoU_full_size", "aAcc", "codes_used", "perplexity")} | {
        "mIoU": scores["mIoU"]
    }


def open_labels(data: TrainingData) -> Any:
    return open_dataset(data.root, "val", data.palette, layout=detect_label_layout(data.root))


def cost_row(config: CompactConfig | DalleConfig) -> dict[str, float]:
    cost = tokenizer_cost(config)
    return {"encode_flops_per_maskige_pixel": cost.encode, "decode_flops_per_maskige_pixel": cost.decode}


def machine() -> dict[str, Any]:
    return {"threads": torch.get_num_threads(), "cpus": os.cpu_count(), "torch": torch.__version__}


def tokenizer_name(row: dict[str, Any]) -> str:
    """Its sizes, and what else is not the default."""
    sizes = row["tokenizer"]
    if sizes["type"] == "dalle":
        return f"DALL-E dVAE, scale {row['scale']}"
    name = f"stride {sizes['stride']}, {sizes['codes']} codes, width {sizes['width']}"
    if sizes["ema_decay"] != CompactConfig.ema_decay:
        name += f", decay {sizes['ema_decay']}"
    if sizes["classification"] == 0:
        name += ", colour loss"
    return name


def show(rows: list[dict[str, Any]]) -> None:
    """One line a row; costs are those of an image pixel, a maskige of scale 2 having four for each."""
    titles = ("data", "palette", "tokenizer", "steps", "tokens/image", "kFLOP/image pixel", "ceiling mIoU", "pixels",
              "codes used", "perplexity", "seconds")  # fmt: skip
    table = Table(*titles)
    for row in rows:
        name = tokenizer_name(row)
        both = row["encode_flops_per_maskige_pixel"] + row["decode_flops_per_maskige_pixel"]
        table.add_row(
            row["data"],
            row["palette"],
            name,
            str(row.get("steps", "")),
            f"{row['tokens_per_image']:,.0f}",
            f"{row['scale'] ** 2 * both / 1e3:,.0f}",
            f"{100 * row['mIoU_full_size']:.1f} %" if "mIoU_full_size" in row else "",
            f"{100 * row['aAcc']:.1f} %" if "aAcc" in row else "",
            str(row.get("codes_used", "")),
            f"{row['perplexity']:.0f}" if "perplexity" in row else "",
            str(row.get("seconds", "")),
        )
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
