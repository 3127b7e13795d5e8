"""The rows of the study: the variants of the paper's table 1, and TT with possible causes of its collapse."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.variants.joint import Changes
from gss.config import InverseConfig, PosteriorConfig

NETWORK = InverseConfig(type="convolution", channels=32, source="labels")
WINDOWS = InverseConfig(type="window", channels=32, depth=2, heads=4, source="labels")
LEARN = PosteriorConfig(learn=True)
SPREAD = PosteriorConfig(learn=True, spread=0.5)
GUMBEL = PosteriorConfig(learn=True, estimator="gumbel")
WARM = PosteriorConfig(learn=True, token_temperature=3)
HOT = PosteriorConfig(learn=True, token_temperature=10)
WARM_GUMBEL = PosteriorConfig(learn=True, estimator="gumbel", token_temperature=3)


@dataclass
class Variant:
    """Which colours (see `palettes.study_palette`), which X^-1, how the palette is learned if it is, and with what
    changes; whether X^-1 is trained afterwards on its own; the learning rate of the joint training against the others';
    whether X^-1 has batch norm."""

    palette: str = "own"
    inverse: InverseConfig = field(default_factory=InverseConfig)
    posterior: PosteriorConfig | None = None
    changes: Changes = field(default_factory=Changes)
    afterwards: bool = False
    rate: float = 1.0
    batch_norm: bool = True


def changed(
    changes: Changes,
    posterior: PosteriorConfig = LEARN,
    *,
    palette: str = "own",
    rate: float = 1.0,
    batch_norm: bool = True,
) -> Variant:
    """TT with `changes`."""
    return Variant(palette, NETWORK, posterior, changes, rate=rate, batch_norm=batch_norm)


TABLE_1 = {
    "FF": Variant(),
    "FF-R": Variant("random"),
    "FF, fitted": Variant("fitted"),
    "FF, fitted, touching classes far apart": Variant("distance"),
    "FF, fitted, none between touching classes": Variant("blend"),
    "FT": Variant(inverse=NETWORK, afterwards=True),
    "FT-W": Variant(inverse=WINDOWS, afterwards=True),
    "TF": Variant(posterior=LEARN),
    "TF, gumbel": Variant(posterior=GUMBEL),
    "TF from random colours": Variant("random", posterior=LEARN),
    "TT": Variant(inverse=NETWORK, posterior=LEARN),
    "TT, gumbel": Variant(inverse=NETWORK, posterior=GUMBEL),
    "TT from random colours": Variant("random", NETWORK, LEARN),
    "TT, spread": Variant(inverse=NETWORK, posterior=SPREAD),
    "TT, spread, from random colours": Variant("random", NETWORK, SPREAD),
    "TT, ten times the rate": Variant(inverse=NETWORK, posterior=LEARN, rate=10),
    "TT, unbounded colours": changed(Changes("clamped")),
    "TT, unbounded colours, ten times the rate": changed(Changes("clamped"), rate=10),
    "TF, then FT": Variant(inverse=NETWORK, posterior=LEARN, afterwards=True),
}

SOFT = Changes(soft=True)
LAYER = Changes("linear", "layer")
NORMAL = Changes("linear", "normal")

CAUSES = {
    # tokens: trained on what the decoder does not get at the end
    "TT, soft": changed(SOFT),
    "TT, soft, temperature 3": changed(SOFT, WARM),
    "TT, soft, temperature 10": changed(SOFT, HOT),
    "TT, soft with Gumbel noise, temperature 3": changed(SOFT, WARM_GUMBEL),
    "TT, noise 3": changed(Changes(noise=3)),
    "TT, noise 10": changed(Changes(noise=10)),
    "TT, noise 30": changed(Changes(noise=30)),
    # colours: where they begin
    "FF in colours around grey": Variant("grey"),
    "FT in colours around grey": Variant("grey", NETWORK, afterwards=True),
    "TF from colours around grey": Variant("grey", posterior=LEARN),
    "TT from colours around grey": Variant("grey", NETWORK, LEARN),
    "TT from colours around grey, spread": Variant("grey", NETWORK, SPREAD),
    "TT, linear X from a layer's start": changed(LAYER),
    "TT, gumbel, linear X from a layer's start": changed(LAYER, GUMBEL),
    "TT, linear X from standard normal colours": changed(NORMAL),
    # X^-1 and the optimiser
    "TT, no batch norm": changed(Changes(), batch_norm=False),
    "TT, no batch norm, ten times the rate": changed(Changes(), batch_norm=False, rate=10),
    "TT, linear X, a hundred times the rate": changed(Changes("linear"), rate=100),
    # together
    "TT, soft, temperature 10, from colours around grey": changed(SOFT, HOT, palette="grey"),
    "TT, soft, from colours around grey": changed(SOFT, palette="grey"),
    "TT, soft, linear X from a layer's start": changed(Changes("linear", "layer", True)),
    "TT, soft, temperature 10, linear X from a layer's start": changed(Changes("linear", "layer", True), HOT),
    "TT, noise 10, from colours around grey": changed(Changes(noise=10), palette="grey"),
    "TT, noise 10, linear X from a layer's start": changed(Changes("linear", "layer", noise=10)),
    "TT, linear X from a layer's start, no batch norm": changed(LAYER, batch_norm=False),
    "TT, linear X from a layer's start, ten times the rate": changed(LAYER, rate=10),
}

VARIANTS = TABLE_1 | CAUSES
