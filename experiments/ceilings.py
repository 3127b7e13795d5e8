"""Reconstruct-only mIoU without a prior: variants of the compact tokenizer, and the paper's table 1 in the small.

    python -m experiments.ceilings DATA --study tokenizers --runs runs/tokenizers --out runs/tokenizers.json
    python -m experiments.ceilings DATA --study variants --runs runs/variants --out runs/variants.json

tokenizers: the tokenizer of camvid-small with a few settings changed, 800 steps each. variants: X and X^-1 on a coarse
tokenizer that is trained on labels in new random colours every step, like the DALL-E dVAE it knows colours and no
palette; what a variant learns, it learns in 200 steps.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from experiments.runs import Case, by_name, parser, percent, study

TOKENIZERS = {
    "stride-2": (),
    "stride-2-128-codes": ("tokenizer.codes=128",),
    "stride-2-code-dim-4": ("tokenizer.code_dim=4",),
    "stride-2-colour-loss": ("tokenizer.classification=0.0",),
    "stride-2-no-class-balance": ("tokenizer.class_balance=0.0",),
    "stride-4-2048-codes-width-96": (
        "tokenizer.stride=4",
        "tokenizer.codes=2048",
        "tokenizer.code_dim=32",
        "tokenizer.width=96",
        "tokenizer.encoder_blocks=2",
        "tokenizer.decoder_blocks=3",
    ),
}
COARSE = ("tokenizer.any_palette=true", "tokenizer.stride=4", "tokenizer.codes=512", "tokenizer.width=48",
          "tokenizer_stage.steps=1000", "tokenizer_stage.batch_size=8")  # fmt: skip
VARIANTS = {  # recipe, the stage after the tokenizer's
    "FF": ("camvid-small", ""),
    "FF-R": ("camvid-small-ff-r", ""),
    "FT": ("camvid-small-ft", "inverse"),
    "FT-W": ("camvid-small-ft-w", "inverse"),
    "TF": ("camvid-small-tf", "posterior"),
    "TT": ("camvid-small-tt", "posterior"),
}


def tokenizers(seed: int) -> list[Case]:
    short = ("stages=[tokenizer]", "tokenizer_stage.steps=800")
    return [
        Case(name, "camvid-small", seed, (*short, *changed), scores=("ceiling",))
        for name, changed in TOKENIZERS.items()
    ]


def variants(seed: int) -> list[Case]:
    found = []
    for name, (recipe, stage) in VARIANTS.items():
        stages = (f"stages=[tokenizer{', ' + stage if stage else ''}]",)
        steps = (f"{stage}_stage.steps=200",) if stage else ()
        found.append(Case(name, recipe, seed, (*COARSE, *stages, *steps), scores=("ceiling",)))
    return found


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--study", choices=("tokenizers", "variants"), required=True)
    given = arguments.parse_intermixed_args()
    chosen = tokenizers if given.study == "tokenizers" else variants
    rows = study([case for seed in given.seeds for case in chosen(seed)], given)
    table = Table("case", "seeds", "tokens an image", "mIoU", "at full size", "codes used")
    for name, own in by_name(rows).items():
        table.add_row(
            name,
            " / ".join(str(row["seed"]) for row in own),
            f"{own[0]['ceiling']['tokens_per_image']:,.0f}",
            percent(own, "ceiling", "mIoU"),
            percent(own, "ceiling", "mIoU_full_size"),
            " / ".join(str(row["ceiling"]["codes_used"]) for row in own),
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
