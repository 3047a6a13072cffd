"""RDN under the keys of the EDSR authors' port, which RDN's own authors point to."""

from lnln_jax.weights.tables.base import Network, Row, count_of, scale_of, size_of

_GROWTH_RATE = size_of(r"RDBs\.\d+\.convs\.\d+\.conv\.0\.bias")

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
            "scale": scale_of("UPNet.", _GROWTH_RATE, steps={4: 4}),  # the last one is at 2 or 4
            "n_resblocks": count_of(r"RDBs\.(\d{1,9})\.(?:convs\.0|LFF)\."),
            "n_layers": count_of(r"RDBs\.0\.convs\.(\d{1,9})\."),
            "growth_rate": _GROWTH_RATE,
            "n_feats": size_of(r"(SFENet\d|RDBs\.\d+\.LFF)\.bias"),
        },
        order=("SFENet", "RDBs", "GFF", "UPNet", "convs", "LFF", "conv", "weight", "bias"),
    ),
}
