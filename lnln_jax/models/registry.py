"""The networks by name."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from lnln_jax.kernels.attention import check_implementation
from lnln_jax.models.carn import CARN
from lnln_jax.models.carn_m import CARNM
from lnln_jax.models.drca import DRCA
from lnln_jax.models.edsr import EDSR
from lnln_jax.models.imdn import IMDN
from lnln_jax.models.lnln import LNLN
from lnln_jax.models.msrn import MSRN
from lnln_jax.models.pan import PAN
from lnln_jax.models.rcan import RCAN
from lnln_jax.models.rdn import RDN
from lnln_jax.models.rfdn import RFDN
from lnln_jax.models.rlfn import RLFN
from lnln_jax.models.san import SAN
from lnln_jax.models.swinir_light import SwinIRLight
from lnln_jax.models.vdsr import VDSR
from lnln_jax.models.wdsr import WDSRA, WDSRB
from lnln_jax.models.wdsr_reloaded import WDSRReloaded
from lnln_jax.runtime.numbers import real, whole
from lnln_jax.runtime.suggestions import did_you_mean

MODELS: dict[str, type[nn.Module]] = {
    "lnln": LNLN,
    "drca": DRCA,
    "rcan": RCAN,
    "edsr": EDSR,
    "vdsr": VDSR,
    "rlfn": RLFN,
    "rfdn": RFDN,
    "imdn": IMDN,
    "carn": CARN,
    "carn_m": CARNM,
    "pan": PAN,
    "san": SAN,
    "swinir_light": SwinIRLight,
    "rdn": RDN,
    "msrn": MSRN,
    "wdsr_a": WDSRA,
    "wdsr_b": WDSRB,
    "wdsr_reloaded": WDSRReloaded,
}
# Published forms of a network that have a name of their own.
VARIANTS: dict[str, tuple[str, dict[str, int | float]]] = {
    "edsr_baseline": ("edsr", {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0}),
    "vdsr_rgb": ("vdsr", {"n_colors": 3}),
    "rlfn_s": ("rlfn", {"n_feats": 48, "n_mid_feats": 48}),
    "rlfn_ntire": ("rlfn", {"n_resblocks": 4, "n_feats": 46, "n_mid_feats": 48}),
    "carn_multi": ("carn", {"n_scales": 3}),
    "carn_m_multi": ("carn_m", {"n_scales": 3}),
    "rdn_a": ("rdn", {"n_resblocks": 20, "n_layers": 6, "growth_rate": 32}),
    "wdsr_reloaded_large": (
        "wdsr_reloaded",
        {"n_resblocks": 32, "n_feats": 128, "block_feats": 512},
    ),
}
SCALES = (2, 3, 4)  # of all networks
ALL_SCALES = (*SCALES, 8)  # of some
_NOT_OPTIONS = ("parent", "name", "scale", "axis_name")


def resolve(
    name: str, options: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, int | float]]:
    """Returns the network in `MODELS`, and its options, for a name and options on top of it.

    Raises:
      ValueError: an unknown name.
    """
    network, defaults = VARIANTS.get(name, (name, {}))
    if network not in MODELS:
        names = sorted([*MODELS, *VARIANTS])
        raise ValueError(
            f"name is {name!r}; the networks are {', '.join(names)}{did_you_mean(str(name), names)}"
        )
    return network, {**defaults, **(options or {})}


def model_options(name: str) -> dict[str, type]:
    """Returns the hyper-parameters of a network that `create_model` takes, with their types."""
    network, _ = resolve(name)
    hints = typing.get_type_hints(MODELS[network])
    fields = [f.name for f in dataclasses.fields(MODELS[network])]
    return {key: hints[key] for key in fields if key not in _NOT_OPTIONS}


def create_model(name: str, scale: int = 2, **overrides: Any) -> nn.Module:
    """Builds a network by name, with its published hyper-parameters unless overridden.

    Args:
      name: a network of `MODELS`, such as "lnln", or a published form of one in `VARIANTS`, such as
        "edsr_baseline" or "vdsr_rgb" ("vdsr" is of luma).
      scale: 2, 3 or 4; 8 too for LNLN, DRCA, RCAN and EDSR.
      **overrides: hyper-parameters of the network, such as `n_resgroups=2` or `dtype=jnp.bfloat16`.

    Returns:
      A Flax module; `module.apply(variables, lr)` takes `B H W 3` float32 RGB in 0..255, or
      `B H W 1` luma where `input_channels` says so.

    Raises:
      ValueError: an unknown name, scale or hyper-parameter, a number out of its range, or an
        implementation of the attention that is unknown or does not run here.
    """
    network, options = resolve(name, overrides)
    if (scale := whole("scale", scale)) not in (scales := scales_of(network)):
        raise ValueError(f"scale is {scale!r}; {network} has {', '.join(map(str, scales))}")
    known = model_options(network)
    for key, value in options.items():
        if key not in known:
            raise ValueError(
                f"{network} has no hyper-parameter {key!r}; it has {', '.join(known)}"
                f"{did_you_mean(key, known)}"
            )
        if known[key] is int:
            options[key] = whole(key, value, least=1, most=2**31 - 1)
        elif known[key] is float:
            options[key] = real(key, value, **_range_of(network, key))
    module: Any = MODELS[network](scale=scale, **options)
    if hasattr(module, "check_sizes"):
        module.check_sizes()
    if "attention" in known:
        check_implementation(module.attention, module.dtype, argument="attention")
    return module


def scales_of(name: str) -> tuple[int, ...]:
    """Returns the scales that a network is made for."""
    network, _ = resolve(name)
    return getattr(MODELS[network], "scales", SCALES)


def _range_of(network: str, key: str) -> dict[str, float]:
    """Returns the limits of a hyper-parameter, as `numbers.real` takes them; 0 may be "none"."""
    return {"least": 0} if key in getattr(MODELS[network], "may_be_zero", ()) else {"above": 0}


def input_channels(module: nn.Module) -> int:
    """Returns 1 for a network of luma alone, 3 for one of RGB."""
    return getattr(module, "n_colors", 3)


def least_side(module: nn.Module) -> int:
    """Returns the least height and width, in LR pixels, that a network takes."""
    return getattr(module, "least_side", 2)


def window(module: nn.Module) -> int:
    """Returns the side of the windows that a network cuts its input into; 1 if it does not."""
    return getattr(module, "window", 1)
