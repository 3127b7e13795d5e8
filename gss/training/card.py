"""The model card of a run folder: its README.md, which the Hugging Face hub shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

import gss
from gss.config import Recipe
from gss.io.files import write_text
from gss.palette import Palette
from gss.training.data import TrainingData

TEMPLATE = """\
---
{{ card_data }}
---

# {{ title }}

{{ summary }} (arXiv [2303.11316](https://arxiv.org/abs/2303.11316)), trained with `gss` {{ version }}.

## Use

```python
{{ usage }}
```
{% if stages %}
## Training

Recipe {{ recipe }}{% if description %}: {{ description }}{% endif %}

| stage | steps | batch size | learning rate |
|---|---|---|---|
{% for stage in stages -%}
| {{ stage.name }} | {{ stage.steps }} | {{ stage.batch }} | {{ stage.rate }} |
{% endfor %}
`recipe.yaml` has every setting, `versions.json` the versions of the packages, `metrics.jsonl` every step.
{% endif %}
## Data
{% if data %}
{{ images }} training images of {{ data }}.
{% endif %}
{{ classes | length }} classes in the colours of the palette {{ palette }}:

{% for name in classes -%}
- {{ name }}
{% endfor %}
## Licence

The code of `gss` is under Apache-2.0. The licence of these weights depends on the training data and on the weights that
training started from. Set the field `license` above before you publish them.
"""

MODEL_USAGE = """\
import gss

model = gss.load("hf://OWNER/NAME")  # or a local folder
result = model.predict("image.jpg")
result.save("out")"""

TOKENIZER_USAGE = """\
from gss.model.loading import load_codec

codec = load_codec("FOLDER")
tokens = codec.tokenizer.encode(codec.maskige.encode(labels))"""

SUMMARIES = {
    "gss": "Generative semantic segmentation",
    "pixel-classifier": "Semantic segmentation by a classifier of pixels, the counterpart of a generative model",
    "tokenizer": "Tokenizer of label maps for generative semantic segmentation",
}
METRICS = {"mIoU": "mean_iou", "mAcc": "mean_accuracy", "aAcc": "overall_accuracy"}


def model_card(
    architecture: str,
    palette: Palette,
    recipe: Recipe | None = None,
    data: TrainingData | None = None,
    stages: Mapping[str, Any] | None = None,
) -> ModelCard:
    """The card of a model.

    Args:
        architecture: "gss", "pixel-classifier", or "tokenizer" for a tokenizer alone.
        recipe, data, stages: how it was trained; None for a converted model. `stages` has the configuration of each
            stage by its name.
    """
    title = escape(recipe.name if recipe is not None and recipe.name else architecture)
    card_data = ModelCardData(
        library_name="gss",
        license="unknown",
        model_name=recipe.name if recipe is not None and recipe.name else architecture,
        pipeline_tag="image-segmentation",
        tags=["gss", "semantic-segmentation", architecture],
    )
    rows = [
        {"name": name, "steps": s.steps, "batch": s.batch_size * s.gradient_accumulation, "rate": s.learning_rate}
        for name, s in (stages or {}).items()
    ]
    return ModelCard.from_template(
        card_data,
        template_str=TEMPLATE,
        title=title,
        summary=SUMMARIES[architecture],
        version=gss.__version__,
        usage=TOKENIZER_USAGE if architecture == "tokenizer" else MODEL_USAGE,
        stages=rows,
        recipe=title,
        description=escape(recipe.description) if recipe is not None else "",
        data=escape(data.root.resolve().name) if data is not None else "",
        images=len(data.pairs) if data is not None else 0,
        palette=escape(palette.name),
        classes=[escape(name) for name in palette.class_names],
    )


def add_metrics(run: Path | str, metrics: Mapping[str, Any], dataset: str, split: str = "val") -> None:
    """Write the scores of `gss.evaluate` into the card of a run, in place of those it had.

    Raises:
        FileNotFoundError: the run has no README.md.
    """
    file = Path(run, "README.md")
    card = ModelCard(file.read_text(encoding="utf-8"), ignore_metadata_errors=True)
    facts = card.data
    assert isinstance(facts, ModelCardData)
    facts.model_name = facts.model_name or Path(run).resolve().name
    facts.eval_results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split=split,
            metric_type=kind,
            metric_name=name,
            metric_value=round(float(metrics[name]), 4),
        )
        for name, kind in METRICS.items()
        if name in metrics
    ]
    write_text(file, str(card))


def escape(name: str) -> str:
    r"""A name as one line of Markdown that shows it as it is.

    >>> print(escape("road | <b>"))
    road \| \<b\>
    """
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", " ".join(name.split()))
