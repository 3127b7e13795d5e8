"""Extra peak memory of one prediction and one training step, as JSON; run by test_memory.py in a process of its own."""

import json
import sys
from collections.abc import Callable

import torch

from benchmarks.kernels.memory import extra_peak
from gss.config import CompactConfig, InverseConfig, PriorConfig
from gss.model.loading import build_gss
from gss.palette import Palette
from gss.training.stages import InverseTraining, PriorTraining
from tests.gss.tiny import tiny_recipe

SIDE, CODES = 384, 8192


def main(path: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    palette = Palette.named("mseg")
    # not the tests' usual 8 channels: oneDNN's backward pass of a strided 1x1 convolution with 8 channels writes past
    # its buffers in torch 2.13 (one thread, channels last)
    backbone = tiny_recipe().backbone | {"embedding_size": 16, "hidden_sizes": [16, 16, 16, 16]}
    recipe = tiny_recipe(
        backbone=backbone,
        tokenizer=CompactConfig(stride=8, codes=CODES, code_dim=4, width=4, encoder_blocks=0, decoder_blocks=0),
        prior=PriorConfig(level_channels=4, trunk_channels=4, head_channels=8, swin_channels=4, swin_depth=0),
        inverse=InverseConfig(type="convolution", channels=4) if path == "inverse" else InverseConfig(),
    )
    model = build_gss(recipe, palette)
    image = torch.randint(256, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    label = torch.randint(palette.num_classes, (1, SIDE, SIDE), dtype=torch.uint8)
    batch = {"image": image, "label": label}

    def step(stage: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            stage.train()(batch)["loss"].backward()
            stage.zero_grad()

        return run

    def predict() -> None:
        model.predict(image)

    if path == "predict":
        call: Callable[[], None] = predict
    elif path == "prior":
        call = step(PriorTraining(model, torch.ones(palette.num_classes)))
    else:
        call = step(InverseTraining(model, torch.ones(palette.num_classes)))
    call()
    print(json.dumps({"bytes": extra_peak(call, lambda result: 0)}))


if __name__ == "__main__":
    main(sys.argv[1])
