"""RDN under the keys of the EDSR authors' port, which RDN's own authors point to."""

from lnln_jax.weights.tables.base import Network, Row, Shapes, count_of, size_of

_GROWTH_RATE = size_of(r"RDBs\.\d+\.convs\.\d+\.conv\.0\.bias")
_UPSAMPLED = size_of(r"UPNet\.0\.bias")


def _scale(shapes: Shapes) -> int:
    """Reads the scale: 4 has three convolutions, 2 and 3 have two of another width."""
    if any(key.startswith("UPNet.4.") for key in shapes):
        return 4
    return {4: 2, 9: 3}[_UPSAMPLED(shapes) // _GROWTH_RATE(shapes)]


TABLES = {
    "rdn": Network(
        (
            Row("shallow_1", "SFENet1", "conv"),
            Row("shallow_2", "SFENet2", "conv"),
            Row("blocks[block]/conv_{layer+1}", "RDBs.{block}.convs.{layer}.conv.0", "conv"),
            Row("blocks[block]/fusion", "RDBs.{block}.LFF", "conv"),
            Row("fusion_1", "GFF.0", "conv"),
            Row("fusion_2", "GFF.1", "conv"),
            *(Row(f"upsampler/conv_{i + 1}", f"UPNet.{2 * i}", "conv") for i in range(3)),
        ),
        {},
        mark=r"RDBs\.\d+\.convs\.",
        measures={
            "scale": _scale,
            "n_resblocks": count_of(r"RDBs\.(\d{1,9})\.(?:convs\.0|LFF)\."),
            "n_layers": count_of(r"RDBs\.0\.convs\.(\d{1,9})\."),
            "growth_rate": _GROWTH_RATE,
            "n_feats": size_of(r"(SFENet\d|RDBs\.\d+\.LFF)\.bias"),
        },
        order=("SFENet", "RDBs", "GFF", "UPNet", "convs", "LFF", "conv", "weight", "bias"),
    ),
}
