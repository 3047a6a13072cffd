"""CARN and CARN-M: alone at x2, x3 or x4, or all three in one, as published.

A block has three units, `b1` to `b3`, or CARN-M's one, `b1`.
"""

from lnln_jax.models.registry import SCALES
from lnln_jax.weights.tables.base import (
    Measure,
    Network,
    Row,
    Shapes,
    mean_shift,
    scale_of,
    size_of,
)

_ORDER = (
    *("sub_mean", "add_mean", "shifter", "entry", "b", "c", "upsample", "exit"),
    *("up", "body", "weight", "bias"),
)

_MEAN_SHIFT = mean_shift((0.4488, 0.4371, 0.4040), ".shifter")  # of DIV2K, in 0..1

# What the two have in common: all but the units. The upsamplers' convolutions are 0 and 3.
_LAYERS = (
    Row("head", "entry", "conv"),
    Row("block_{block+1}/fuse_{fusion+1}", "b{block+1}.c{fusion+1}.body.0", "conv"),
    Row("fuse_{fusion+1}", "c{fusion+1}.body.0", "conv"),
    *(Row(f"upsampler/conv_{i + 1}", f"upsample.up.body.{3 * i}", "conv") for i in range(2)),
    *(
        Row(f"upsampler/x{scale}/conv_{i + 1}", f"upsample.up{scale}.body.{3 * i}", "conv")
        for scale in (2, 3, 4)
        for i in range(2)
    ),
    Row("tail", "exit", "conv"),
)

_FEATS = size_of(r"(entry|b\d\.c\d\.body\.0)\.bias")


def _n_scales(shapes: Shapes) -> int:
    several = tuple(f"upsample.up{scale}." for scale in (2, 3, 4))
    return 3 if any(key.startswith(several) for key in shapes) else 1


_MEASURES: dict[str, Measure] = {
    "scale": scale_of("upsample.up.body.", _FEATS, steps={3: 4}),  # of a network that has one
    "n_feats": _FEATS,
    "n_scales": _n_scales,
}
_INPUTS = size_of(r"b\d\.b1\.body\.[02]\.weight", axis=1)

TABLES = {
    "carn": Network(
        (
            *_LAYERS,
            *(
                Row(
                    f"block_{{block+1}}/unit_{{unit+1}}/conv_{i + 1}",
                    f"b{{block+1}}.b{{unit+1}}.body.{2 * i}",
                    "conv",
                )
                for i in range(2)
            ),
        ),
        _MEAN_SHIFT,
        mark=r"b\d\.b[23]\.body\.",
        measures=_MEASURES,
        alike=SCALES,
        order=_ORDER,
    ),
    "carn_m": Network(
        (
            *_LAYERS,
            *(
                Row(f"block_{{block+1}}/unit/{flax}", f"b{{block+1}}.b1.body.{torch}", "conv")
                for flax, torch in (("conv_1", 0), ("conv_2", 2), ("pointwise", 4))
            ),
        ),
        _MEAN_SHIFT,
        mark=r"b\d\.b1\.body\.4\.",
        measures={
            **_MEASURES,
            "groups": lambda shapes: _FEATS(shapes) // _INPUTS(shapes),
        },
        alike=SCALES,
        order=_ORDER,
    ),
}
