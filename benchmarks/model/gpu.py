"""The model on a GPU: xformers' attention, agreement with the CPU, and the memory and speed of the official sizes.

    python -m benchmarks.model.gpu --out benchmarks/results/model-gpu.json [--parts attention agreement official]

attention: xformers' kernel against the formula in float64, beside torch's fused attention, with and without a bias,
forward and backward; times and peak memory of both. agreement: camvid-small with random weights on the GPU and on the
CPU. official: one training step and one prediction of the official models with random weights, beside the bytes that
`python -m benchmarks.model.memory` counts; and the dVAE in float16 against float32. Each part is written when it is
done; one that fails says why and the others go on. Exit code 1 if an answer is wrong or a part failed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.model.memory import CASES, GIB
from gss.attention import attention, xformers_reason
from gss.files import write_text
from gss.model import GSS
from gss.palette import get_palette
from gss.recipe import load_recipe
from gss.training.run import build_gss
from gss.training.stages import InverseTraining, PriorTraining
from gsskernels import info

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
        print("nothing to check: torch sees no CUDA device", file=sys.stderr)
        return 2
    found: dict[str, Any] = {"machine": info.collect(), "xformers": xformers_version()}
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


def xformers_version() -> str:
    try:
        return version("xformers") if xformers_reason() is None else f"not used: {xformers_reason()}"
    except PackageNotFoundError:
        return "imported, of unknown version"


def check_attention() -> list[dict[str, Any]]:
    """Relative errors (Frobenius norm) against float64; wrong if more than twice torch's and 1e-6."""
    if reason := xformers_reason():
        return [{"error": reason, "wrong": True}]
    rows = []
    for name, (batch, heads, tokens, channels, biased) in SHAPES.items():
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            generator = torch.Generator("cuda").manual_seed(tokens)
            shape = (batch, heads, tokens, channels)
            inputs = [torch.randn(shape, generator=generator, device="cuda") for _ in range(3)]
            bias = torch.randn(1, heads, tokens, tokens, generator=generator, device="cuda") if biased else None
            given = [x.to(dtype) for x in inputs]
            upstream = torch.randn(shape, generator=generator, device="cuda").to(dtype)
            wanted = with_gradients(formula, [x.double() for x in given], bias, upstream.double())
            ways = {"xformers": attention, "torch": fused}
            row: dict[str, Any] = {"shape": name, "dtype": str(dtype).removeprefix("torch.")}
            for way, function in ways.items():
                got = with_gradients(function, given, None if bias is None else bias.to(dtype), upstream)
                row[f"{way}_errors"] = [float(f"{relative(a, b):.2e}") for a, b in zip(got, wanted, strict=True)]
            bias = None if bias is None else bias.to(dtype)
            for way, milliseconds in interleaved(
                {way: step(function, given, bias, upstream) for way, function in ways.items()}
            ).items():
                row[f"{way}_ms"] = round(milliseconds, 4)
            for way, function in ways.items():
                row[f"{way}_mib"] = round(peak(step(function, given, bias, upstream)) / 2**20, 1)
            pairs = zip(row["xformers_errors"], row["torch_errors"], strict=True)
            row["wrong"] = any(ours > max(2 * theirs, 1e-6) for ours, theirs in pairs)
            rows.append(row)
    return rows


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


def step(function: Callable[..., Tensor], given: list[Tensor], bias: Tensor | None, up: Tensor) -> Callable[[], Any]:
    return lambda: with_gradients(function, given, bias, up)


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got.double() - wanted).norm() / wanted.norm())


def interleaved(ways: dict[str, Callable[[], Any]], rounds: int = 20) -> dict[str, float]:
    """Median milliseconds a call of each, in turns, by events; the first three rounds are not counted."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 3):
        for way, call in ways.items():
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            first.record()
            call()
            last.record()
            last.synchronize()
            if turn >= 3:
                times[way].append(first.elapsed_time(last))
    return {way: statistics.median(values) for way, values in times.items()}


def peak(call: Callable[[], Any]) -> int:
    """Bytes that a call takes beyond what was there."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def check_agreement(device: str = "cuda") -> list[dict[str, Any]]:
    """Of random weights, which leave near ties that rounding decides: wrong below 98 %, and where there is nothing to
    compare because the picture has one class or the maskige no numbers."""
    rows = []
    for decode in ("consensus", "argmax"):
        recipe = load_recipe("camvid-small", [f"prior.decode={decode}"])
        torch.manual_seed(0)
        model = build_gss(recipe, get_palette(recipe.palette)).eval()
        nn.init.normal_(model.token_head.free_weight)  # of the size that tells tokens apart
        images = torch.randint(0, 256, (1, 3, 360, 480), dtype=torch.uint8)
        with torch.inference_mode():
            here = model(images)
            there = type(here)(*(x.cpu() if x is not None else None for x in model.to(device)(images.to(device))))
        tokens = float(torch.eq(here.tokens, there.tokens).double().mean())
        labels = float(torch.eq(here.labels, there.labels).double().mean())
        classes, finite = len(here.labels.unique()), bool(here.maskige.isfinite().all())
        wrong = min(tokens, labels) < 0.98 or classes < 2 or not finite
        row = {"decode": decode, "classes": classes, "tokens": len(here.tokens.unique())}
        rows.append({**row, "equal_tokens": tokens, "equal_labels": labels, "wrong": wrong})
    return rows


def check_official() -> list[dict[str, Any]]:
    rows = []
    for name, side, batch in CASES[:2]:
        recipe = load_recipe(name)
        with torch.device("cuda"):
            model = build_gss(recipe, get_palette(recipe.palette))
        stage: PriorTraining | InverseTraining
        ones = torch.ones(model.palette.num_classes, device="cuda")
        stage = (PriorTraining(model, ones) if model.inverse is None else InverseTraining(model, ones)).cuda()
        data = {
            "image": torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device="cuda"),
            "label": torch.randint(0, model.palette.num_classes, (batch, side, side), device="cuda").to(torch.uint8),
        }
        row: dict[str, Any] = {"recipe": name, "side": side, "batch": batch}
        for precision, enabled in (("float32", False), ("bfloat16", True)):

            def train(stage: Any = stage, data: Any = data, enabled: bool = enabled) -> None:
                stage.zero_grad(set_to_none=True)
                with torch.autocast("cuda", torch.bfloat16, enabled=enabled):
                    loss = stage(data)["loss"]
                loss.backward()

            @torch.inference_mode()
            def predict(model: GSS = model, data: Any = data, enabled: bool = enabled) -> None:
                with torch.autocast("cuda", torch.bfloat16, enabled=enabled):
                    model(data["image"])

            stage.train()
            train()
            stage.zero_grad(set_to_none=True)  # a step would let go of these first, and take less than it needs
            row[f"step_{precision}_gib"] = round(peak(train) / GIB, 2)
            row[f"step_{precision}_ms"] = round(interleaved({"step": train}, 8)["step"], 1)
            stage.zero_grad(set_to_none=True)
            model.eval()
            predict()
            row[f"predict_{precision}_gib"] = round(peak(predict) / GIB, 2)
            row[f"predict_{precision}_ms"] = round(interleaved({"predict": predict}, 8)["predict"], 1)
        rows.append(row)
    rows.append(dalle_in_float16(model))
    return rows


@torch.inference_mode()
def dalle_in_float16(model: GSS) -> dict[str, Any]:
    """The largest difference of decoded colours, in levels of 0..255, on the same tokens."""
    tokenizer: Any = model.tokenizer
    tokens = torch.randint(0, tokenizer.codes, (1, 96, 96), device="cuda")
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
