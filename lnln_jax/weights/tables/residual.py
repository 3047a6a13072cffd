"""EDSR, RCAN, DRCA, LNLN and VDSR.

All keys but LNLN's are those of the published checkpoints. Nobody published LNLN, so its keys
follow DRCA's: `head.0`, `body.<group>.body.<block>.body.<0, 1, 3, 4, 5>`, `tail.0.<0, 2>` and so on
are the same layers, a depthwise separable convolution holds a `depthwise` and a `pointwise` one,
and the non-local module is `non_local.<theta, phi, g, W>`.
"""

from lnln_jax.models.layers import DIV2K_MEAN
from lnln_jax.models.registry import SCALES
from lnln_jax.weights.tables.base import (
    Measure,
    Network,
    Row,
    count_of,
    ends_of,
    mean_shift,
    scale_of,
    size_of,
)

# The parts of keys, in the order in which the published files have them.
_ORDER = (
    *("sub_mean", "add_mean", "head", "non_local", "body", "proj", "tail"),
    *("residual_layer", "input", "output"),
    *("conv", "conv_du", "depthwise", "pointwise", "theta", "phi", "g", "W"),
    *("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
)


def _block(flax: str, torch: str, conv: str) -> tuple[Row, ...]:
    """Returns the rows of a residual channel-attention block with BatchNorm."""
    return (
        Row(f"{flax}/conv_1", f"{torch}.body.0", conv),
        Row(f"{flax}/norm_1", f"{torch}.body.1", "batch_norm"),
        Row(f"{flax}/conv_2", f"{torch}.body.3", conv),
        Row(f"{flax}/norm_2", f"{torch}.body.4", "batch_norm"),
        Row(f"{flax}/attention/squeeze", f"{torch}.body.5.conv_du.0", "conv"),
        Row(f"{flax}/attention/excite", f"{torch}.body.5.conv_du.2", "conv"),
    )


def _dense_groups(conv: str) -> tuple[Row, ...]:
    """Returns what DRCA and LNLN share; `conv` is the kind of the 3x3 convolutions that differ."""
    return (
        *ends_of("head.0", "tail.0", "tail.1", conv),
        *_block("body/group_{group+1}/first", "body.{group}.body.0", conv),
        Row("body/group_{group+1}/first/skip", "body.{group}.body.0.proj.0", "conv"),
        *_block("body/group_{group+1}/blocks[block]", "body.{group}.body.{block+1}", conv),
        Row("body/projection", "body.{groups}", "conv"),
    )


def _grouped_measures(attention: int, layer: str = "") -> dict[str, Measure]:
    """Returns DRCA's, LNLN's and RCAN's.

    Args:
      attention: index of the channel attention in a block.
      layer: pattern that leads from a 3x3 convolution to the array that shows its outputs.
    """
    n_feats = size_of(rf"(head\.0|body\.\d+\.body\.0\.body\.0)\.{layer}bias")
    squeezed = size_of(rf"body\.\d+\.body\.\d+\.body\.{attention}\.conv_du\.0\.bias")
    return {
        "scale": scale_of("tail.0.", n_feats, layer),
        "n_resgroups": count_of(r"body\.(\d{1,9})\.body\."),
        "n_resblocks": count_of(r"body\.0\.body\.(\d{1,9})\.body\."),
        "n_feats": n_feats,
        "reduction": lambda shapes: n_feats(shapes) // squeezed(shapes),
    }


_EDSR_FEATS = size_of(r"(head\.0|body\.\d+\.body\.0)\.bias")

_MEAN_SHIFT = mean_shift(DIV2K_MEAN)  # two additions in Flax

TABLES = {
    "drca": Network(
        _dense_groups("conv"),
        _MEAN_SHIFT,
        mark=r"body\.\d+\.body\.\d+\.body\.3\.weight",
        measures=_grouped_measures(5),
        order=_ORDER,
    ),
    "lnln": Network(
        (
            *_dense_groups("separable"),
            Row("non_local/theta", "non_local.theta", "conv"),
            Row("non_local/phi", "non_local.phi", "conv"),
            Row("non_local/g", "non_local.g", "conv"),
            Row("non_local/w", "non_local.W", "conv"),
        ),
        _MEAN_SHIFT,
        mark=r"body\.\d+\.body\.\d+\.body\.3\.depthwise\.",
        measures=_grouped_measures(5, r"pointwise\."),
        order=_ORDER,
    ),
    "rcan": Network(
        (
            *ends_of("head.0", "tail.0", "tail.1"),
            *(
                Row(
                    f"groups[group]/blocks[block]/{flax}",
                    f"body.{{group}}.body.{{block}}.body.{torch}",
                    "conv",
                )
                for flax, torch in (
                    ("conv_1", "0"),
                    ("conv_2", "2"),
                    ("attention/squeeze", "3.conv_du.0"),
                    ("attention/excite", "3.conv_du.2"),
                )
            ),
            Row("groups[group]/conv", "body.{group}.body.{blocks}", "conv"),
            Row("body", "body.{groups}", "conv"),
        ),
        _MEAN_SHIFT,
        mark=r"body\.\d+\.body\.\d+\.body\.3\.conv_du\.",
        measures=_grouped_measures(3),
        order=_ORDER,
    ),
    "edsr": Network(
        (
            *ends_of("head.0", "tail.0", "tail.1"),
            Row("blocks[block]/conv_1", "body.{block}.body.0", "conv"),
            Row("blocks[block]/conv_2", "body.{block}.body.2", "conv"),
            Row("body", "body.{blocks}", "conv"),
        ),
        _MEAN_SHIFT,
        mark=r"body\.\d+\.body\.0\.weight$",  # WDSR goes on with _g or _v
        measures={
            "scale": scale_of("tail.0.", _EDSR_FEATS),
            "n_resblocks": count_of(r"body\.(\d{1,9})\.body\."),
            "n_feats": _EDSR_FEATS,
        },
        order=_ORDER,
    ),
    "vdsr": Network(
        (
            Row("first/conv", "input", "conv_without_bias"),
            Row("layers[layer]/conv", "residual_layer.{layer}.conv", "conv_without_bias"),
            Row("last", "output", "conv_without_bias"),
        ),
        {},
        mark=r"residual_layer\.\d+\.conv\.",
        measures={
            "n_layers": count_of(r"residual_layer\.(\d{1,9})\.conv\.", more=2),
            "n_feats": size_of(r"residual_layer\.\d+\.conv\.weight"),
            "n_colors": size_of(r"input\.weight", axis=1),
        },
        alike=SCALES,
        order=_ORDER,
    ),
}


def default_res_scale(name: str, n_feats: int) -> float:
    """Returns a network's `res_scale`, which no array shows: 0.1 in the large EDSR, else 1."""
    return 0.1 if (name, n_feats) == ("edsr", 256) else 1.0
