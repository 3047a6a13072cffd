"""RLFN, of the line of networks that began with the information distillation of IMDN."""

import math

from lnln_jax.weights.tables.base import Measure, Network, Row, Shapes, count_of, size_of

# The parts of keys, in the order in which the published files have them.
_ORDER = (
    *("conv_1", "block_", "conv_2", "upsampler"),
    *("c1_r", "c2_r", "c3_r", "c5", "esa"),
    *("conv1", "conv_f", "conv2", "conv3", "conv4"),
    *("weight", "bias"),
)
_OUTPUTS = size_of(r"upsampler\.0\.bias")


def _scale(shapes: Shapes) -> int:
    """Reads the scale of an upsampler with a single step, to 3 * scale**2 channels."""
    return math.isqrt(_OUTPUTS(shapes) // 3)


def _rows(flax: str, torch: str, pairs: dict[str, str]) -> tuple[Row, ...]:
    """Returns the rows of convolutions, by what is behind a path and a prefix that they share."""
    return tuple(Row(f"{flax}/{f}", f"{torch}.{t}", "conv") for f, t in pairs.items())


_ESA = {
    "attention/squeeze": "esa.conv1",
    "attention/skip": "esa.conv_f",
    "attention/shrink": "esa.conv2",
    "attention/coarse_1": "esa.conv3",
    "attention/excite": "esa.conv4",
}
_RLFN_FEATS: Measure = size_of(r"(conv_[12]|block_\d+\.c5)\.bias")

TABLES = {
    "rlfn": Network(
        (
            Row("head", "conv_1", "conv"),
            *_rows(
                "blocks[block]",
                "block_{block+1}",
                {"conv_1": "c1_r", "conv_2": "c2_r", "conv_3": "c3_r", "fuse": "c5", **_ESA},
            ),
            Row("body", "conv_2", "conv"),
            Row("upsampler", "upsampler.0", "conv"),
        ),
        {},
        mark=r"block_\d+\.c\d_r\.",
        measures={
            "scale": _scale,
            "n_resblocks": count_of(r"block_(\d{1,9})\.c\d_r\.", more=-1),
            "n_feats": _RLFN_FEATS,
            "n_mid_feats": size_of(r"block_\d+\.c[12]_r\.bias"),
            "n_attention_feats": size_of(r"block_\d+\.esa\.conv\w+\.bias"),
        },
        order=_ORDER,
    ),
}
