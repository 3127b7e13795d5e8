"""A recipe small enough to train in a test, with every part of the real ones."""

from __future__ import annotations

from gss.config import AugmentationConfig, CompactConfig, PriorConfig, Recipe, StageConfig


def tiny_recipe(**changes: object) -> Recipe:
    stage = StageConfig(
        steps=3,
        batch_size=2,
        learning_rate=1e-3,
        warmup_steps=1,
        checkpoint_every=2,
        log_every=1,
        augmentation=AugmentationConfig(scale=(0.8, 1.2), crop=(32, 48), flip=0.5, photometric=True),
    )
    fields: dict[str, object] = {
        "name": "tiny",
        "palette": "scenes",
        "backbone": {
            "model_type": "resnet",
            "embedding_size": 8,
            "hidden_sizes": [8, 8, 16, 16],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        "tokenizer": CompactConfig(stride=2, codes=32, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1),
        "prior": PriorConfig(
            level_channels=8,
            trunk_channels=8,
            head_channels=16,
            swin_channels=16,
            swin_stride=2,
            swin_depth=2,
            swin_heads=2,
            window=3,
        ),
        "tokenizer_stage": stage,
        "prior_stage": stage,
    }
    return Recipe(**(fields | changes))  # type: ignore[arg-type]
