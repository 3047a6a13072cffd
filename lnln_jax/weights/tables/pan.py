"""PAN, of which x2 and x3 have the same arrays."""

from lnln_jax.weights.tables.base import Network, Row, Shapes, count_of, size_of

_ORDER = (
    *("conv_first", "SCPA_trunk", "trunk_conv"),
    *("upconv1", "att1", "HRconv1", "upconv2", "att2", "HRconv2", "conv_last"),
    *("conv1_a", "conv1_b", "k1", "PAConv", "k2", "k3", "k4", "conv3", "conv", "weight", "bias"),
)

_BLOCK = (
    ("split_a", "conv1_a", "conv_without_bias"),
    ("split_b", "conv1_b", "conv_without_bias"),
    ("conv_a", "k1.0", "conv_without_bias"),
    ("conv_b/attention", "PAConv.k2", "conv"),
    ("conv_b/conv_1", "PAConv.k3", "conv_without_bias"),
    ("conv_b/conv_2", "PAConv.k4", "conv_without_bias"),
    ("fuse", "conv3", "conv_without_bias"),
)


def _scale(shapes: Shapes) -> int:
    """Reads 4; others do not show."""
    second = ("upconv2.", "att2.", "HRconv2.")
    return 4 if any(key.startswith(second) for key in shapes) else 0


TABLES = {
    "pan": Network(
        (
            Row("head", "conv_first", "conv"),
            *(
                Row(f"blocks[block]/{flax}", f"SCPA_trunk.{{block}}.{torch}", kind)
                for flax, torch, kind in _BLOCK
            ),
            Row("body", "trunk_conv", "conv"),
            Row("upsampler/block_{block+1}/conv_1", "upconv{block+1}", "conv"),
            Row("upsampler/block_{block+1}/attention/conv", "att{block+1}.conv", "conv"),
            Row("upsampler/block_{block+1}/conv_2", "HRconv{block+1}", "conv"),
            Row("tail", "conv_last", "conv"),
        ),
        {},
        mark=r"SCPA_trunk\.\d+\.",
        measures={
            "scale": _scale,
            "n_resblocks": count_of(r"SCPA_trunk\.(\d{1,9})\."),
            "n_feats": size_of(r"(conv_first|trunk_conv)\.bias"),
            "n_upsampler_feats": size_of(r"(upconv1|att1\.conv|HRconv1)\.bias"),
        },
        alike=(2, 3),
        order=_ORDER,
    ),
}
