"""The results that the LNLN paper prints, as data.

Wang et al., "Lightweight Non-Local Network for Image Super-Resolution", ICASSP 2021. Its networks
are the full-size ones, trained on DIV2K.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lnln_jax.models import MODELS, create_model
from lnln_jax.models.spec import hyper_parameters

Scores = tuple[float, float]  # mean PSNR (dB) and SSIM on Y

BENCHMARKS = ("Set5", "Set14", "B100", "Urban100", "Manga109")

# scale -> method -> scores on BENCHMARKS
# fmt: off
TABLE_1: dict[int, dict[str, tuple[Scores, ...]]] = {
    2: {
        "Bicubic": (
            (33.66, 0.9299), (30.24, 0.8688), (29.56, 0.8431), (26.88, 0.8403), (30.80, 0.9339),
        ),
        "VDSR": (
            (37.53, 0.9590), (33.05, 0.9130), (31.90, 0.8960), (30.77, 0.9140), (37.22, 0.9750),
        ),
        "EDSR": (
            (38.11, 0.9602), (33.92, 0.9195), (32.32, 0.9013), (32.93, 0.9351), (39.10, 0.9773),
        ),
        "RCAN": (
            (38.27, 0.9614), (34.12, 0.9216), (32.41, 0.9027), (33.26, 0.9384), (39.44, 0.9786),
        ),
        "DRCA": (
            (38.28, 0.9615), (34.13, 0.9230), (32.39, 0.9023), (33.25, 0.9382), (39.40, 0.9779),
        ),
        "LNLN": (
            (38.32, 0.9618), (34.15, 0.9232), (32.42, 0.9028), (33.27, 0.9384), (39.43, 0.9784),
        ),
    },
    4: {
        "Bicubic": (
            (28.42, 0.8104), (26.00, 0.7027), (25.96, 0.6675), (23.14, 0.6577), (24.89, 0.7866),
        ),
        "VDSR": (
            (31.35, 0.8830), (28.02, 0.7680), (27.29, 0.7251), (25.18, 0.7540), (28.83, 0.8870),
        ),
        "EDSR": (
            (32.46, 0.8968), (28.80, 0.7876), (27.71, 0.7420), (26.64, 0.8033), (31.02, 0.9148),
        ),
        "RCAN": (
            (32.63, 0.9002), (28.87, 0.7889), (27.77, 0.7436), (26.82, 0.8087), (31.22, 0.9173),
        ),
        "DRCA": (
            (32.68, 0.9009), (28.91, 0.7898), (27.80, 0.7444), (26.94, 0.8111), (31.37, 0.9182),
        ),
        "LNLN": (
            (32.72, 0.9012), (28.92, 0.7899), (27.82, 0.7446), (26.96, 0.8112), (31.38, 0.9183),
        ),
    },
}
# fmt: on


class Size(NamedTuple):
    """Size of a network, as printed: EDSR's storage cannot be right."""

    parameters: float  # millions
    storage: float  # MB


TABLE_2 = {
    "VDSR": Size(0.66, 2.6),
    "EDSR": Size(41.3, 10.8),
    "RCAN": Size(15.8, 34.9),
    "DRCA": Size(14.2, 55.4),
    "LNLN": Size(2.04, 8.72),
}

_ALIASES = {"bsd100": "b100", "bsds100": "b100"}


def published_scores(method: str, benchmark: str, scale: int) -> Scores | None:
    """Returns what Table 1 says, or None where it says nothing that can be compared.

    Its bicubic row for Manga109 cannot: see `measure.published_bicubic`.

    Args:
      method: name in `TABLE_1`, such as "LNLN"; the class name of the network.
      benchmark: name in `BENCHMARKS` in any case; "BSD100" is B100.
      scale: scale, 2 or 4; the paper has no others.
    """
    name = benchmark.lower()
    columns = [column.lower() for column in BENCHMARKS]
    name = _ALIASES.get(name, name)
    rows = TABLE_1.get(scale, {})
    if method not in rows or name not in columns or (method, name) == ("Bicubic", "manga109"):
        return None
    return rows[method][columns.index(name)]


def has_published_sizes(network: str, options: Mapping[str, int | float]) -> bool:
    """Returns whether a result is of what Table 1 measured, at any scale and in any dtype.

    Args:
      network: class of the network, or "Bicubic" for the published bicubic interpolation.
      options: its hyper-parameters, as `models.spec.hyper_parameters` returns them.
    """
    names = [name for name, model in MODELS.items() if model.__name__ == network]
    return network == "Bicubic" or any(
        options == hyper_parameters(create_model(name)) for name in names
    )
