"""EDSR and RCAN under BasicSR's keys, by tables as in `tables.residual`.

BasicSR's networks take RGB in 0..1, and compute on (x - mean) * 255 with EDSR's mean, which no key
shows, and what they return is y / 255 + mean. Seen from 0..255 that is the authors' mean shift, so
the weights are the same numbers. A network that was trained with another `img_range` or `rgb_mean`
cannot be told from these.
"""

from lnln_jax.weights.tables.base import Network, Row, count_of, ends_of, scale_of, size_of

_ENDS = (
    *ends_of("conv_first", "upsample", "conv_last"),
    Row("body", "conv_after_body", "conv"),
)

_EDSR_FEATS = size_of(r"(conv_first|body\.\d+\.conv1)\.bias")
_RCAN_FEATS = size_of(r"(conv_first|body\.\d+\.conv|body\.\d+\.residual_group\.0\.rcab\.0)\.bias")
_RCAN_SQUEEZED = size_of(r"body\.\d+\.residual_group\.\d+\.rcab\.3\.attention\.1\.bias")

TABLES = {
    "edsr": Network(
        (
            *_ENDS,
            Row("blocks[block]/conv_1", "body.{block}.conv1", "conv"),
            Row("blocks[block]/conv_2", "body.{block}.conv2", "conv"),
        ),
        {},
        mark=r"body\.\d+\.conv1\.weight",
        measures={
            "scale": scale_of("upsample.", _EDSR_FEATS),
            "n_resblocks": count_of(r"body\.(\d{1,9})\.conv[12]\."),
            "n_feats": _EDSR_FEATS,
        },
    ),
    "rcan": Network(
        (
            *_ENDS,
            *(
                Row(
                    f"groups[group]/blocks[block]/{flax}",
                    f"body.{{group}}.residual_group.{{block}}.rcab.{torch}",
                    "conv",
                )
                for flax, torch in (
                    ("conv_1", "0"),
                    ("conv_2", "2"),
                    ("attention/squeeze", "3.attention.1"),
                    ("attention/excite", "3.attention.3"),
                )
            ),
            Row("groups[group]/conv", "body.{group}.conv", "conv"),
        ),
        {},
        mark=r"body\.\d+\.residual_group\.\d+\.rcab\.\d\.",
        measures={
            "scale": scale_of("upsample.", _RCAN_FEATS),
            "n_resgroups": count_of(r"body\.(\d{1,9})\.(?:residual_group|conv)\."),
            "n_resblocks": count_of(r"body\.0\.residual_group\.(\d{1,9})\."),
            "n_feats": _RCAN_FEATS,
            "reduction": lambda shapes: _RCAN_FEATS(shapes) // _RCAN_SQUEEZED(shapes),
        },
    ),
}
