"""The model on a GPU: xformers' attention, agreement with the CPU, and memory and speed of the official sizes.

    python -m benchmarks.model.gpu --out benchmarks/results/model-gpu.json [--parts attention agreement official]

attention: errors against float64 of xformers' kernel and of torch's fused attention, with and without a bias, forward
and backward; times and peak memory of both. agreement: camvid-small with random weights on the GPU and on the CPU.
official: a training step and a prediction of the official models with random weights, beside the bytes that `python -m
benchmarks.model.memory` counts, and the dVAE in float16 against float32. Each part is written when it is done; a part
that fails records the reason, and the others go on. The exit code is 1 if an answer is wrong or a part failed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.kernels.timing import DeviceClock
from benchmarks.model.memory import CASES, GIB
from gss.config.loading import load_recipe
from gss.io.files import write_text
from gss.model.attention import attention, xformers_reason
from gss.model.gss import GSS
from gss.model.loading import build_gss
from gss.palette import get_palette
from gss.training.stages import InverseTraining, PriorTraining
from gsskernels import info

CLOCK = DeviceClock()
# (batch, heads, tokens, channels a head, bias): windows of the small trunk, of Swin-L at 768 (stage 1 and 3), and
# attention over a whole feature map.
SHAPES = {
    "window 7, camvid-small": (240, 4, 49, 32, True),
    "window 12, Swin-L stage 1": (256, 6, 144, 32, True),
    "window 12, Swin-L stage 3": (16, 24, 144, 32, True),
    "window 12, no bias": (256, 6, 144, 32, False),
    "64x64 map": (2, 8, 4096, 64, False),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA GPU is available to torch", file=sys.stderr)
        return 2
    found: dict[str, Any] = {"machine": info.collect(), "xformers": xformers_reason() or version("xformers")}
    failed = False
    for name in arguments.parts:
        start = time.monotonic()
        try:
            found[name] = PARTS[name]()
            failed |= any(row.get("wrong") for row in found[name])
        except Exception:
            found[name] = [{"error": traceback.format_exc()}]
            failed = True
        write_text(arguments.out, json.dumps(found, indent=1) + "\n")
        print(f"{name}, {time.monotonic() - start:.0f} s")
        for row in found[name]:
            print("  ", row.get("error") or json.dumps(row), flush=True)
    return int(failed)


def check_attention() -> list[dict[str, Any]]:
    if reason := xformers_reason():
        return [{"error": reason, "wrong": True}]
    dtypes = (torch.float16, torch.bfloat16, torch.float32)
    return [attention_row(name, *shape, dtype) for name, shape in SHAPES.items() for dtype in dtypes]


def attention_row(
    name: str, batch: int, heads: int, tokens: int, channels: int, biased: bool, dtype: torch.dtype
) -> dict[str, Any]:
    """Relative errors (Frobenius norm) against float64, milliseconds and MiB of a forward and backward pass.

    Wrong if an error is more than twice torch's and 1e-6.
    """
    generator = torch.Generator("cuda").manual_seed(tokens)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    given = [random(batch, heads, tokens, channels) for _ in range(3)]
    bias = random(1, heads, tokens, tokens) if biased else None
    upstream = random(batch, heads, tokens, channels)
    wanted = with_gradients(formula, [x.double() for x in given], bias, upstream.double())
    row: dict[str, Any] = {"shape": name, "dtype": str(dtype).removeprefix("torch.")}
    calls = {
        "xformers": lambda: with_gradients(attention, given, bias, upstream),
        "torch": lambda: with_gradients(fused, given, bias, upstream),
    }
    for way, call in calls.items():
        row[f"{way}_errors"] = [float(f"{relative(a, b):.2e}") for a, b in zip(call(), wanted, strict=True)]
        row[f"{way}_mib"] = round(CLOCK.extra_peak(call, lambda result: 0) / 2**20, 1)
    ready = {way: CLOCK.prepare([call]) for way, call in calls.items()}
    CLOCK.measure(list(ready.values()), 0.3)
    for way, timed in ready.items():
        row[f"{way}_ms"], row[f"{way}_timing"] = round(1e3 * statistics.median(timed.times), 4), timed.how
    pairs = zip(row["xformers_errors"], row["torch_errors"], strict=True)
    return {**row, "wrong": any(ours > max(2 * theirs, 1e-6) for ours, theirs in pairs)}


def formula(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return (scores if bias is None else scores + bias.double()).softmax(-1) @ value


def fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def with_gradients(function: Callable[..., Tensor], inputs: list[Tensor], bias: Tensor | None, up: Tensor) -> Any:
    leaves = [x.detach().requires_grad_() for x in inputs]
    if bias is not None:
        leaves.append(bias.detach().to(inputs[0].dtype).requires_grad_())
    out = function(*leaves[:3], leaves[3] if bias is not None else None)
    return (out.detach(), *torch.autograd.grad(out, leaves, up))


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got.double() - wanted).norm() / wanted.norm())


def check_agreement() -> list[dict[str, Any]]:
    """The GPU against the CPU on random weights, which leave near ties for rounding to decide.

    Wrong below 98 %, and where there is nothing to compare: one class only, or a maskige that is not finite.
    """
    rows = []
    for decode in ("consensus", "argmax"):
        recipe = load_recipe("camvid-small", [f"prior.decode={decode}"])
        torch.manual_seed(0)
        model = build_gss(recipe, get_palette(recipe.palette)).eval()
        nn.init.normal_(model.token_head.free_weight)  # of the size that tells tokens apart
        images = torch.randint(0, 256, (1, 3, 360, 480), dtype=torch.uint8)
        with torch.inference_mode():
            here = model(images)
            moved = model.to("cuda")(images.to("cuda"))
        there = type(here)(*(x.cpu() if x is not None else None for x in moved))
        tokens = float(torch.eq(here.tokens, there.tokens).double().mean())
        labels = float(torch.eq(here.labels, there.labels).double().mean())
        classes, finite = len(here.labels.unique()), bool(here.maskige.isfinite().all())
        wrong = min(tokens, labels) < 0.98 or classes < 2 or not finite
        row = {"decode": decode, "classes": classes, "tokens": len(here.tokens.unique())}
        rows.append({**row, "equal_tokens": tokens, "equal_labels": labels, "wrong": wrong})
    return rows


def check_official() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, side, batch in CASES[:2]:
        recipe = load_recipe(name)
        with torch.device("cuda"):
            model = build_gss(recipe, get_palette(recipe.palette))
        rows += [official_row(name, model, side, batch, dtype) for dtype in (torch.float32, torch.bfloat16)]
    rows.append(dalle_in_float16(model))
    return rows


def official_row(name: str, model: GSS, side: int, batch: int, dtype: torch.dtype) -> dict[str, Any]:
    """GiB beyond what was there and milliseconds of a step and of a prediction."""
    classes = model.palette.num_classes
    training = PriorTraining if model.inverse is None else InverseTraining
    stage = training(model, torch.ones(classes)).to("cuda")
    image = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device="cuda")
    label = torch.randint(0, classes, (batch, side, side), dtype=torch.uint8, device="cuda")

    def autocast() -> torch.autocast:
        return torch.autocast("cuda", torch.bfloat16, enabled=dtype == torch.bfloat16)

    def step() -> None:
        stage.zero_grad(set_to_none=True)
        with autocast():
            loss = stage({"image": image, "label": label})["loss"]
        loss.backward()

    @torch.inference_mode()
    def predict() -> None:
        with autocast():
            model(image)

    row: dict[str, Any] = {"recipe": name, "side": side, "batch": batch, "dtype": str(dtype).removeprefix("torch.")}
    for way, call in (("step", step), ("predict", predict)):
        stage.train(way == "step")
        call()
        stage.zero_grad(set_to_none=True)  # a step would let go of these first, and take less than it needs
        row[f"{way}_gib"] = round(CLOCK.extra_peak(call, lambda result: 0) / GIB, 2)
        timed = CLOCK.prepare([call])
        CLOCK.measure([timed], 0.3)
        row[f"{way}_ms"] = round(1e3 * statistics.median(timed.times), 1)
        stage.zero_grad(set_to_none=True)
    return row


@torch.inference_mode()
def dalle_in_float16(model: GSS) -> dict[str, Any]:
    """The largest difference of decoded colours, in levels of 0..255, on the same tokens."""
    tokenizer: Any = model.tokenizer
    tokens = torch.randint(0, tokenizer.codes, (1, 96, 96), device=tokenizer.codebook.device)
    single = tokenizer.decode(tokens).float()
    half = tokenizer.set_precision(torch.float16).decode(tokens).float()
    assert not half.equal(single)  # rounded otherwise, or the comparison says nothing
    difference = 255 * (single - half).abs()
    largest, mean, finite = float(difference.max()), float(difference.mean()), bool(half.isfinite().all())
    wrong = not finite or mean > 1
    return {"dvae": "float16 against float32", "largest": largest, "mean": mean, "finite": finite, "wrong": wrong}


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "attention": check_attention,
    "agreement": check_agreement,
    "official": check_official,
}


if __name__ == "__main__":
    sys.exit(main())
