"""SAN, under its authors' keys."""

import numpy as np

from lnln_jax.weights.tables.base import Network, Row, Shapes, count_of, ends_of, scale_of, size_of

_FEATS = size_of(r"(head\.0|RG\.\d+\.rcab\.0\.conv_first\.0)\.bias")
_SQUEEZED = size_of(r"RG\.\d+\.soca\.conv_du\.0\.bias")


def _unused(shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns, as zeros, what the authors' module holds and never uses."""
    n_feats, groups = _FEATS(shapes), count_of(r"RG\.(\d{1,9})\.")(shapes)
    squeezed = n_feats // 8
    unused = {
        **{f"RG.{group}.gamma": (1,) for group in range(groups)},
        "conv_last.weight": (n_feats, n_feats, 3, 3),
        "conv_last.bias": (n_feats,),
        "non_local.soca.conv_du.0.weight": (squeezed, n_feats, 1, 1),
        "non_local.soca.conv_du.0.bias": (squeezed,),
        "non_local.soca.conv_du.2.weight": (n_feats, squeezed, 1, 1),
        "non_local.soca.conv_du.2.bias": (n_feats,),
    }
    return {key: np.zeros(shape, np.float32) for key, shape in unused.items()}


TABLES = {
    "san": Network(
        (
            Row("gamma", "gamma", "array"),
            Row("sub_mean", "sub_mean", "conv"),
            Row("add_mean", "add_mean", "conv"),
            *ends_of("head.0", "tail.0", "tail.1"),
            *(
                Row(f"non_local/{flax}", f"non_local.non_local.{torch}", "conv")
                for flax, torch in (("theta", "theta"), ("phi", "phi.0"), ("g", "g.0"), ("w", "W"))
            ),
            *(
                Row(
                    f"groups[group]/blocks[block]/conv_{number}",
                    f"RG.{{group}}.rcab.{{block}}.conv_first.{index}",
                    "conv",
                )
                for number, index in ((1, 0), (2, 2))
            ),
            Row("groups[group]/attention/squeeze", "RG.{group}.soca.conv_du.0", "conv"),
            Row("groups[group]/attention/excite", "RG.{group}.soca.conv_du.2", "conv"),
            Row("groups[group]/conv", "RG.{group}.conv_last", "conv"),
        ),
        {},
        mark=r"RG\.\d+\.rcab\.",
        measures={
            "scale": scale_of("tail.0.", _FEATS),
            "n_resgroups": count_of(r"RG\.(\d{1,9})\.rcab\."),
            "n_resblocks": count_of(r"RG\.0\.rcab\.(\d{1,9})\."),
            "n_feats": _FEATS,
            "reduction": lambda shapes: _FEATS(shapes) // _SQUEEZED(shapes),
        },
        order=(
            *("gamma", "sub_mean", "RG", "rcab", "soca", "conv_first", "conv_du", "conv_last"),
            *("add_mean", "non_local", "g", "W", "theta", "phi", "head", "tail"),
            *("weight", "bias"),
        ),
        extras=_unused,
    )
}
