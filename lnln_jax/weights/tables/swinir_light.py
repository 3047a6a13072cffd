"""SwinIR-light, by the authors' keys.

Its module keeps two constants: for each block the row of the bias table for each pair of positions,
and for shifted blocks the mask of a feature map of 64x64 pixels. Published files hold them.
"""

import functools
import re

import numpy as np

from lnln_jax.models.window_attention import SHIFT, relative_positions, shifted_mask
from lnln_jax.weights.tables.base import (
    Network,
    Row,
    Shapes,
    count_of,
    single_step_scale_of,
    size_of,
)

_BLOCK = "layers.{group}.residual_group.blocks.{block}"
_FEATS = size_of(r"(conv_first|conv_after_body)\.bias")
_HIDDEN = size_of(r"layers\.\d+\.residual_group\.blocks\.\d+\.mlp\.fc1\.bias")


@functools.cache
def _mask() -> np.ndarray:
    return np.asarray(shifted_mask(64, 64, SHIFT))


def _constants(shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns the arrays of the authors' module that are no parameters, by the keys of blocks."""
    found = {}
    for key in shapes:
        if match := re.fullmatch(r"(.*\.blocks\.(\d+)\.)attn\.qkv\.bias", key):
            found[f"{match[1]}attn.relative_position_index"] = relative_positions()
            if int(match[2]) % 2:
                found[f"{match[1]}attn_mask"] = _mask()
    return found


TABLES = {
    "swinir_light": Network(
        (
            Row("head", "conv_first", "conv"),
            Row("embed_norm", "patch_embed.norm", "layer_norm"),
            *(
                Row(f"groups[group]/blocks[block]/{flax}", f"{_BLOCK}.{torch}", kind)
                for flax, torch, kind in (
                    ("norm_1", "norm1", "layer_norm"),
                    ("attention/bias_table", "attn.relative_position_bias_table", "array"),
                    ("attention/qkv", "attn.qkv", "linear"),
                    ("attention/proj", "attn.proj", "linear"),
                    ("norm_2", "norm2", "layer_norm"),
                    ("mlp_1", "mlp.fc1", "linear"),
                    ("mlp_2", "mlp.fc2", "linear"),
                )
            ),
            Row("groups[group]/conv", "layers.{group}.conv", "conv"),
            Row("norm", "norm", "layer_norm"),
            Row("body", "conv_after_body", "conv"),
            Row("upsampler", "upsample.0", "conv"),
        ),
        {},
        mark=r"layers\.\d+\.residual_group\.blocks\.\d+\.",
        measures={
            "scale": single_step_scale_of(r"upsample\.0\.bias"),
            "n_resgroups": count_of(r"layers\.(\d{1,9})\."),
            "n_resblocks": count_of(r"layers\.0\.residual_group\.blocks\.(\d{1,9})\."),
            "n_feats": _FEATS,
            "n_heads": size_of(r".*\.attn\.relative_position_bias_table", axis=1),
            "mlp_ratio": lambda shapes: _HIDDEN(shapes) // _FEATS(shapes),
        },
        order=(
            *("conv_first", "patch_embed", "layers", "norm", "conv_after_body", "upsample"),
            *("residual_group", "conv", "blocks"),
            *("attn_mask", "norm1", "attn", "norm2", "mlp"),
            *("relative_position_bias_table", "relative_position_index", "qkv", "proj"),
            *("fc1", "fc2", "weight", "bias"),
        ),
        extras=_constants,
    ),
}
