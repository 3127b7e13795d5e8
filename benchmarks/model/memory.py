"""Memory of the official models at full size: one training step and one prediction, ours against the official formulas.

    python -m benchmarks.model.memory --out benchmarks/results/model_memory.json

Nothing is computed: the models live on torch's meta device, and the bytes of all tensors that are alive at a time are
added up. Weights, the optimiser and temporaries inside an operation (of a kernel library, or a tile of a fused
operation of ours: at most 64 MiB) are not counted.

"official" is our model with the formulas of the official code in place of fused operations: logits of all tokens, one
plane a class, a one-hot plane a code, and every map of the dVAE and of X^-1 whole.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.kernels import official
from gss.config.loading import load_recipe
from gss.io.files import write_text
from gss.model.gss import GSS
from gss.model.loading import build_gss
from gss.model.tokenizers.dalle import DalleTokenizer
from gss.palette import get_palette
from gss.training.stages import InverseTraining, PriorTraining

GIB = 2**30
CASES = (
    ("official-cityscapes-ff-swin-l", 768, 1),
    ("official-cityscapes-ft-w-swin-l", 768, 1),
    ("official-ade20k-ff-swin-l", 512, 1),
    ("official-mseg-ff-swin-l", 512, 1),
)


class LiveBytes(TorchDispatchMode):
    """The most bytes of tensors that were alive at once, of those made while the mode is on."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                reference = StorageWeakRef(storage)
                self.alive.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name, side, batch in CASES:
        row: dict[str, Any] = {"recipe": name, "side": side, "batch": batch}
        for kind, form in (("ours", nullcontext), ("official", official_formulas)):
            row[f"step_{kind}"] = step(name, side, batch, form)
            row[f"predict_{kind}"] = predict(name, side, batch, form)
        rows.append(row)
        print(
            f"{name} {side}x{side}: step {row['step_ours'] / GIB:.2f} GiB, official {row['step_official'] / GIB:.2f}; "
            f"prediction {row['predict_ours'] / GIB:.2f} GiB, official {row['predict_official'] / GIB:.2f}",
            flush=True,
        )
    if arguments.out is not None:
        write_text(
            arguments.out, json.dumps({"torch": torch.__version__, "device": "meta", "rows": rows}, indent=1) + "\n"
        )


def build(name: str) -> GSS:
    recipe = load_recipe(name)
    with torch.device("meta"):
        return build_gss(recipe, get_palette(recipe.palette))


def step(name: str, side: int, batch: int, form: Callable[[], Any]) -> int:
    """Peak bytes of forward and backward, gradients of the weights included."""
    model = build(name)
    with torch.device("meta"):
        weights = torch.ones(model.palette.num_classes)
        stage = PriorTraining(model, weights) if model.inverse is None else InverseTraining(model, weights)
        data = {
            "image": torch.zeros(batch, 3, side, side, dtype=torch.uint8),
            "label": torch.zeros(batch, side, side, dtype=torch.uint8),
        }
    with form(), LiveBytes() as live:
        stage.train()(data)["loss"].backward()
    return live.peak


def predict(name: str, side: int, batch: int, form: Callable[[], Any]) -> int:
    """Peak bytes of one pass over an image of that size."""
    model = build(name).eval()
    with torch.device("meta"):
        image = torch.zeros(batch, 3, side, side, dtype=torch.uint8)
    with torch.inference_mode(), form(), LiveBytes() as live:
        model(image)
    return live.peak


@contextmanager
def official_formulas() -> Iterator[None]:
    """Replaces the operations of gsskernels and the losses by the formulas of the official code."""

    def decode(maskige: Tensor, palette: Tensor, *, size: Any = None, margin: bool = False) -> Any:
        labels = official.decode(maskige, palette)
        votes = F.one_hot(labels, len(palette)).permute(0, 3, 1, 2).float()
        if size is not None:
            votes = F.interpolate(votes, size=size, mode="bilinear", align_corners=False)
        labels = votes.softmax(1).argmax(1)
        return (labels.to(torch.uint8), torch.zeros_like(labels, dtype=torch.float32)) if margin else labels

    def argmax(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, dim: int = -1) -> Tensor:
        return F.conv2d(x, weight[:, :, None, None], bias).argmax(1)

    def cross_entropy(
        x: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None = None, *, dim: int, **settings: Any
    ) -> Tensor:
        return F.cross_entropy(F.conv2d(x, weight[:, :, None, None], bias), target, **settings)

    def label_resize(labels: Tensor, size: Any, *, num_classes: int) -> Tensor:
        return official.resize(labels.long().clamp(max=num_classes), size, num_classes + 1)

    def upsampled(logits: Tensor, labels: Tensor, weight: Tensor, ignore_index: int = 255) -> tuple[Tensor, Tensor]:
        large = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return F.cross_entropy(large, labels.long(), weight, ignore_index=ignore_index), large.argmax(1)

    def decode_tokens(self: DalleTokenizer, tokens: Tensor) -> Tensor:
        return self.decode_weights(F.one_hot(tokens, self.codes).permute(0, 3, 1, 2).float())

    replaced = {
        "gsskernels.maskige_decode": decode,
        "gsskernels.linear_argmax": argmax,
        "gsskernels.linear_cross_entropy": cross_entropy,
        "gsskernels.label_resize": label_resize,
        "gss.training.stages.upsampled_cross_entropy": upsampled,
        "gss.model.tokenizers.dalle.DalleTokenizer.decode": decode_tokens,
        "gss.model.tokenizers.dalle.BAND_BYTES": 1 << 60,
        "gss.model.swin.BAND_VALUES": 1 << 60,
    }
    patches = [mock.patch(name, value) for name, value in replaced.items()]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


if __name__ == "__main__":
    main()
