"""What the tests of weights share: small networks, runs, and the keys of the published files."""

import json
import lzma
from pathlib import Path

import jax
import numpy as np

from lnln_jax.data import dead_leaves_pairs, make_train_iterator
from lnln_jax.models import create_model
from lnln_jax.models.variables import abstract_variables
from lnln_jax.training.checkpoints import RunCheckpoints
from lnln_jax.training.optimizer import make_optimizer
from lnln_jax.training.state import create_state

_GROUPS = {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 8, "reduction": 4}
OPTIONS = {
    "lnln": _GROUPS,
    "drca": _GROUPS,
    "rcan": _GROUPS | {"n_resgroups": 3, "n_resblocks": 2},
    "edsr": {"n_resblocks": 3, "n_feats": 8, "res_scale": 1.0},
    "vdsr": {"n_layers": 5, "n_feats": 8, "n_colors": 1},
    "rlfn": {"n_resblocks": 3, "n_feats": 6, "n_mid_feats": 5, "n_attention_feats": 4},
    "rfdn": {"n_resblocks": 3, "n_feats": 10},
    "imdn": {"n_resblocks": 3, "n_feats": 8, "reduction": 4},
    "carn": {"n_feats": 8, "n_scales": 1},
    "carn_m": {"n_feats": 8, "n_scales": 1, "groups": 2},
    "pan": {"n_resblocks": 2, "n_feats": 6, "n_upsampler_feats": 4},
    "san": {"n_resgroups": 3, "n_resblocks": 2, "n_feats": 16, "reduction": 4},
    "rdn": {"n_resblocks": 2, "n_layers": 3, "growth_rate": 4, "n_feats": 6},
    "wdsr_a": {"n_resblocks": 3, "n_feats": 4, "block_feats": 6, "res_scale": 1.0},
    "wdsr_b": {
        "n_resblocks": 3,
        "n_feats": 4,
        "block_feats": 6,
        "res_scale": 1.0,
        "low_rank_feats": 3,
    },
    "wdsr_reloaded": {"n_resblocks": 3, "n_feats": 4, "block_feats": 6},
    "msrn": {"n_resblocks": 2, "n_feats": 4},
    "swinir_light": {
        "n_resgroups": 2,
        "n_resblocks": 3,
        "n_feats": 12,
        "n_heads": 3,
        "mlp_ratio": 2,
    },
}
# The checkpoint in published_keys.json.xz, and what `create_model` calls its network.
PUBLISHED = {
    "drca_x2": ("drca", 2),
    "drca_x4": ("drca", 4),
    "rcan_x2": ("rcan", 2),
    "rcan_x4": ("rcan", 4),
    "edsr_x2": ("edsr", 2),
    "edsr_x4": ("edsr", 4),
    "edsr_baseline_x2": ("edsr_baseline", 2),
    "edsr_baseline_x3": ("edsr_baseline", 3),
    "edsr_baseline_x4": ("edsr_baseline", 4),
    "vdsr": ("vdsr", 2),
    **{f"{name}_x{scale}": (name, scale) for name in ("rlfn", "rlfn_s") for scale in (2, 3, 4)},
    "rlfn_ntire_x4": ("rlfn_ntire", 4),
    "rfdn_aim_x4": ("rfdn", 4),
    **{f"imdn_x{scale}": ("imdn", scale) for scale in (2, 3, 4)},
    **{f"swinir_light_x{scale}": ("swinir_light", scale) for scale in (2, 3, 4)},
    **{f"{name}_x{scale}": (name, scale) for name in ("carn", "carn_m") for scale in (2, 3, 4)},
    "carn_multi": ("carn_multi", 2),
    "carn_m_multi": ("carn_m_multi", 2),
    **{f"pan_x{scale}": ("pan", scale) for scale in (2, 3, 4)},
    **{f"san_x{scale}": ("san", scale) for scale in (2, 3, 4)},
    **{f"rdn_x{scale}": ("rdn", scale) for scale in (2, 3, 4)},
    "rdn_a_x2": ("rdn_a", 2),
    **{
        f"{name}_x{scale}": (name, scale)
        for name in ("msrn", "wdsr_a", "wdsr_b", "wdsr_reloaded")
        for scale in (2, 3, 4)
    },
}


def make_variables(name, scale=2, **options):
    """Variables of which no two numbers are the same; `options` on top of `OPTIONS`."""
    rng = np.random.default_rng(0)
    module = create_model(name, scale, **{**OPTIONS[name], **options})
    variables = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract_variables(module)
    )
    if shift := variables["params"].get("sub_mean"):  # small ones are of images in 0..1
        shift["bias"] -= 100
    return variables


def published_shapes(stem: str) -> dict[str, tuple[int, ...]]:
    """The keys of a published checkpoint, in its order, with their shapes."""
    packed = Path(__file__).with_name("published_keys.json.xz").read_bytes()
    state_dict = json.loads(lzma.decompress(packed))[stem]
    return {key: tuple(shape) for key, shape in state_dict.items()}


def write_run(folder, config, variables, *, step):
    """Writes a training run with one checkpoint."""
    source = dead_leaves_pairs(1, size=16, scale=2, seed=0)
    iterator = make_train_iterator([source], lr_patch_size=8, batch_size=2, seed=0)
    state = create_state(variables, make_optimizer(config.optimizer), ema=False)
    with RunCheckpoints(folder / "checkpoints", config, images=[]) as checkpoints:
        checkpoints.save(state.replace(step=np.int32(step)), iterator, {})
    iterator.close()


def assert_same(tree, expected):
    """The same paths, dtypes and bits."""
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for leaf, other in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other, strict=True)
