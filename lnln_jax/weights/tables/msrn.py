"""MSRN, whose layers of the mean shift are weights as others."""

from lnln_jax.weights.tables.base import Network, Row, count_of, ends_of, scale_of, size_of

_FEATS = size_of(r"(head\.0|body\.\d+\.confusion)\.bias")

TABLES = {
    "msrn": Network(
        (
            Row("sub_mean", "sub_mean", "conv"),
            Row("add_mean", "add_mean", "conv"),
            *ends_of("head.0", "tail.2", "tail.3"),
            *(
                Row(f"blocks[block]/conv_{layer}", f"body.{{block}}.conv_{layer}", "conv")
                for layer in ("3_1", "3_2", "5_1", "5_2")
            ),
            Row("blocks[block]/fusion", "body.{block}.confusion", "conv"),
            Row("fusion", "tail.0", "conv"),
            Row("conv", "tail.1", "conv"),
        ),
        {},
        mark=r"body\.\d+\.conv_[35]_[12]\.",
        measures={
            "scale": scale_of("tail.2.", _FEATS),
            "n_resblocks": count_of(r"body\.(\d{1,9})\.(?:conv_3_1|confusion)\."),
            "n_feats": _FEATS,
        },
        order=(
            *("sub_mean", "add_mean", "head", "body", "tail"),
            *("conv_3_1", "conv_3_2", "conv_5_1", "conv_5_2", "confusion", "weight", "bias"),
        ),
    ),
}
