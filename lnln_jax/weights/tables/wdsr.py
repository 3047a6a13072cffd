"""WDSR-A and -B, and the later version, with weight normalisation under old and new names.

Published files have `weight_g` and `weight_v`, as PyTorch called them until 2.0; those of newer
PyTorch, which are read as well, `parametrizations.weight.original0` and `original1`.
"""

from typing import NamedTuple

from lnln_jax.weights.tables.base import Network, Row, count_of, single_step_scale_of, size_of

_ORDER = ("head", "body", "tail", "skip", "bias", "weight_g", "weight_v")


class _Naming(NamedTuple):
    """The kind of a layer, and how the keys of its gain and direction end, as an expression."""

    kind: str
    gain_or_direction: str


_OLD = _Naming("weight_norm", r"weight_[gv]")
_NEW = _Naming("parametrized_weight_norm", r"parametrizations\.weight\.original[01]")


def _authors(naming: _Naming, last: int, mark: str) -> Network:
    """Returns the table of A, whose blocks' last convolution is 2, or of B, where it is 3."""
    layers = {2: (("expand", 0), ("shrink", 2)), 3: (("expand", 0), ("shrink", 2), ("conv", 3))}
    low_rank = {"low_rank_feats": size_of(r"body\.\d+\.body\.2\.bias")} if last == 3 else {}
    return Network(
        (
            *(Row(name, f"{name}.0", naming.kind) for name in ("head", "tail", "skip")),
            *(
                Row(f"blocks[block]/{flax}", f"body.{{block}}.body.{torch}", naming.kind)
                for flax, torch in layers[last]
            ),
        ),
        {},
        mark=mark,
        measures={
            "scale": single_step_scale_of(r"(tail|skip)\.0\.bias"),
            "n_resblocks": count_of(r"body\.(\d{1,9})\.body\."),
            "n_feats": size_of(rf"(head\.0|body\.\d+\.body\.{last})\.bias"),
            "block_feats": size_of(r"body\.\d+\.body\.0\.bias"),
            **low_rank,
        },
        order=_ORDER,
    )


def _tables(naming: _Naming) -> dict[str, Network]:
    ends = rf"(?:head|tail)\.0\.{naming.gain_or_direction}"
    return {
        # B has all keys that A has, and a mark that counts more of them.
        "wdsr_a": _authors(naming, 2, ends),
        "wdsr_b": _authors(naming, 3, rf"{ends}|body\.\d+\.body\.3\.{naming.gain_or_direction}"),
        "wdsr_reloaded": Network(
            (
                Row("head", "body.0", naming.kind),
                Row("blocks[block]/expand", "body.{block+1}.body.0", naming.kind),
                Row("blocks[block]/shrink", "body.{block+1}.body.2", naming.kind),
                Row("tail", "body.{blocks+1}", naming.kind),
                Row("skip", "skip.0", naming.kind),
            ),
            {},
            mark=rf"body\.\d+\.{naming.gain_or_direction}",
            measures={
                "scale": single_step_scale_of(r"(skip\.0|body\.[1-9]\d*)\.bias"),
                "n_resblocks": count_of(r"body\.([1-9]\d{0,8})\.body\.", more=-1),
                "n_feats": size_of(r"(body\.0|body\.\d+\.body\.2)\.bias"),
                "block_feats": size_of(r"body\.\d+\.body\.0\.bias"),
            },
            order=_ORDER,
        ),
    }


TABLES = _tables(_OLD)
PARAMETRIZED = _tables(_NEW)
