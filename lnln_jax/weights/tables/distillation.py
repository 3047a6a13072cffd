"""IMDN, RFDN and RLFN, which come one from the other."""

from lnln_jax.weights.tables.base import (
    Measure,
    Network,
    Row,
    count_of,
    single_step_scale_of,
    size_of,
)

# The parts of keys, in the order in which the published files have them.
_ORDER = (
    *("fea_conv", "conv_1", "IMDB", "B", "block_", "c", "LR_conv", "conv_2", "upsampler"),
    *("c1", "c1_d", "c1_r", "c2", "c2_d", "c2_r", "c3", "c3_d", "c3_r", "c4", "c5", "cca", "esa"),
    *("conv_du", "conv1", "conv_f", "conv_max", "conv2", "conv3", "conv3_", "conv4"),
    *("weight", "bias"),
)


def _network(
    ends: dict[str, str], blocks: str, layers: dict[str, str], measures: dict[str, Measure]
) -> Network:
    """Returns a table of convolutions alone.

    Args:
      ends: paths and prefixes of those outside the blocks.
      blocks: what stands before the number of a block, from 1 on.
      layers: paths and prefixes within a block.
      measures: hyper-parameters that are not the same in all.
    """
    within = {
        f"blocks[block]/{flax}": f"{blocks}{{block+1}}.{torch}" for flax, torch in layers.items()
    }
    layer = "|".join(torch.replace(".", r"\.") for torch in layers.values())
    mark = rf"{blocks}(\d{{1,9}})\.(?:{layer})\."
    return Network(
        tuple(Row(flax, torch, "conv") for flax, torch in (ends | within).items()),
        {},
        mark=mark,
        measures={
            "scale": single_step_scale_of(r"upsampler\.0\.bias"),
            "n_resblocks": count_of(mark, more=-1),
            **measures,
        },
        order=_ORDER,
    )


_UPSAMPLER = {"upsampler": "upsampler.0"}
_FUSING = {"head": "fea_conv", "fusion": "c.0", "body": "LR_conv", **_UPSAMPLER}
_ATTENTION = {
    "attention/squeeze": "esa.conv1",
    "attention/skip": "esa.conv_f",
    "attention/shrink": "esa.conv2",
    "attention/excite": "esa.conv4",
}
_IMDN_FEATS = size_of(r"(fea_conv|LR_conv|IMDB\d+\.c[1235])\.bias")
_IMDN_SQUEEZED = size_of(r"IMDB\d+\.cca\.conv_du\.0\.bias")

TABLES = {
    "imdn": _network(
        _FUSING,
        "IMDB",
        {
            **{f"conv_{i}": f"c{i}" for i in (1, 2, 3, 4)},
            "fuse": "c5",
            "attention/squeeze": "cca.conv_du.0",
            "attention/excite": "cca.conv_du.2",
        },
        {
            "n_feats": _IMDN_FEATS,
            "reduction": lambda shapes: _IMDN_FEATS(shapes) // _IMDN_SQUEEZED(shapes),
        },
    ),
    "rfdn": _network(
        _FUSING,
        "B",
        {
            **{f"distill_{i}": f"c{i}_d" for i in (1, 2, 3)},
            **{f"refine_{i}": f"c{i}_r" for i in (1, 2, 3)},
            "distill_4": "c4",
            "fuse": "c5",
            **_ATTENTION,
            "attention/coarse_1": "esa.conv_max",
            "attention/coarse_2": "esa.conv3",
            "attention/coarse_3": "esa.conv3_",
        },
        {"n_feats": size_of(r"(fea_conv|LR_conv|B\d+\.(c\d_r|c5))\.bias")},
    ),
    "rlfn": _network(
        {"head": "conv_1", "body": "conv_2", **_UPSAMPLER},
        "block_",
        {
            **{f"conv_{i}": f"c{i}_r" for i in (1, 2, 3)},
            "fuse": "c5",
            **_ATTENTION,
            "attention/coarse_1": "esa.conv3",
        },
        {
            "n_feats": size_of(r"(conv_[12]|block_\d+\.(c3_r|c5))\.bias"),
            "n_mid_feats": size_of(r"block_\d+\.c[12]_r\.bias"),
            "n_attention_feats": size_of(r"block_\d+\.esa\.conv(1|_f|2|3)\.bias"),
        },
    ),
}
