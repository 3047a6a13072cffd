"""What is published of each network: scores and sizes, as data.

The scores are those of the authors' papers, projects and logs, of comparisons in later projects,
or quoted from memory; each row says which. The LNLN paper's own tables are in `paper`. Sizes are
counted in the authors' modules, without mean-shift layers; where a paper prints others, the row's
note says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from lnln_jax.evaluation.paper import BENCHMARKS, TABLE_1, TABLE_2, published_scores

PublishedScores = tuple[float, float | None]  # mean PSNR (dB) and SSIM on Y; None: not printed
DIV2K_RGB = "DIV2K val, RGB"  # PSNR on RGB, of the 100 validation images

PAPER = "LNLN paper"
PROJECT = "authors' project"
LATER = "comparison in a later project"
LOG = "authors' log"
MEMORY = "from memory"


@dataclass(frozen=True)
class PublishedRow:
    """What is published of one network at one scale.

    Attributes:
      network: name, as `create_model` takes it, or "bicubic".
      scale: scale.
      source: where the scores are from: one of the constants of this module; "" without scores.
      scores: name of the benchmark, as in `paper.BENCHMARKS` or `DIV2K_RGB`, -> PSNR and SSIM.
      parameters: number of parameters; None where it is not known.
      multiply_adds: 1e9 multiply-adds for an output of 1280x720.
      activations: 1e6 elements of convolution outputs for an LR image of 256x256.
      convolutions: number of convolutions.
      note: what a reader of the figures must know; may be empty.
    """

    network: str
    scale: int
    source: str = ""
    scores: Mapping[str, PublishedScores] = field(default_factory=dict)
    parameters: int | None = None
    multiply_adds: float | None = None
    activations: float | None = None
    convolutions: int | None = None
    note: str = ""

    @property
    def certain(self) -> bool:
        """Whether the scores have been read where they are published, not quoted from memory."""
        return self.source != MEMORY

    def score(self, benchmark: str) -> PublishedScores | None:
        """Returns the scores on a benchmark, by its name in any case; "BSD100" is B100."""
        name = _ALIASES.get(benchmark.lower(), benchmark.lower())
        return next((both for each, both in self.scores.items() if each.lower() == name), None)


def published(network: str, scale: int) -> PublishedRow | None:
    """Returns what is published of a network at a scale, or None.

    Args:
      network: name, as `create_model` takes it, or "bicubic".
      scale: scale.
    """
    return next(
        (row for row in all_published() if (row.network, row.scale) == (network, scale)), None
    )


@cache
def all_published() -> tuple[PublishedRow, ...]:
    """Returns all rows: networks in alphabetical order, each by scale."""
    return tuple(sorted([*_of_paper(), *_of_others()], key=lambda row: (row.network, row.scale)))


def _of_paper() -> Iterator[PublishedRow]:
    """Yields the rows of the LNLN paper's Table 1, with the parameters of its Table 2."""
    for scale, methods in TABLE_1.items():
        for method in methods:
            scores = {name: published_scores(method, name, scale) for name in BENCHMARKS}
            yield PublishedRow(
                method.lower(),
                scale,
                PAPER,
                {name: both for name, both in scores.items() if both},
                round(TABLE_2[method].parameters * 1e6) if method in TABLE_2 else None,
                note="by SRCNN's convention" if method == "Bicubic" else "parameters as printed",
            )


def _of_others() -> Iterator[PublishedRow]:
    """Yields the rows of the other networks."""
    for network, by_scale in _SIZES.items():
        for scale, (parameters, multiply_adds) in by_scale.items():
            source, scores = _SCORES.get(network, {}).get(scale, ("", {}))
            activations, convolutions = _NTIRE.get(network, (None, None))
            yield PublishedRow(
                network,
                scale,
                source,
                scores,
                parameters,
                multiply_adds,
                activations,
                convolutions,
                _NOTES.get(network, ""),
            )


def _row(*scores: PublishedScores) -> dict[str, PublishedScores]:
    """Returns scores on the first so many of `BENCHMARKS`."""
    return dict(zip(BENCHMARKS, scores, strict=False))


def _psnr(div2k: float, set5: float, b100: float, urban100: float) -> dict[str, PublishedScores]:
    """Returns the scores of a table that prints PSNR alone."""
    values = {DIV2K_RGB: div2k, "Set5": set5, "B100": b100, "Urban100": urban100}
    return {name: (psnr, None) for name, psnr in values.items()}


_ALIASES = {"bsd100": "b100", "bsds100": "b100"}

_WDSR_A = {2: (1_190_100, 273.0), 3: (1_195_605, 122.0), 4: (1_203_312, 69.0)}
# network -> scale -> parameters, 1e9 multiply-adds for an output of 1280x720
_SIZES: dict[str, Mapping[int, tuple[int, float | None]]] = {
    "rlfn": {2: (526_856, 115.4), 3: (533_891, 52.1), 4: (543_740, 29.8)},
    "rlfn_s": {2: (454_620, 98.8), 3: (461_115, 44.6), 4: (470_208, 25.6)},
    "rlfn_ntire": {4: (317_218, 17.3)},
    "imdn": {2: (694_404, 158.8), 3: (703_059, 71.5), 4: (715_176, 40.9)},
    "carn": {2: (1_591_939, 222.8), 3: (1_591_939, 118.9), 4: (1_591_939, 90.9)},
    "carn_m": {2: (414_787, 91.2), 3: (414_787, 46.2), 4: (414_787, 32.5)},
    "pan": {2: (261_403, 70.5), 3: (261_403, 39.1), 4: (272_419, 28.2)},
    "rfdn": {4: (433_448, 23.8)},
    "rdn": {2: (22_123_395, 5096), 3: (22_308_035, 2287), 4: (22_271_107, 1309)},
    "msrn": {2: (5_930_307, 1367), 3: (6_114_947, 628), 4: (6_078_019, 377)},
    "wdsr_a": _WDSR_A,
    "wdsr_b": {2: (1_202_260, 273.3), 3: (1_212_085, 122.6), 4: (1_225_840, 69.7)},
    "wdsr_reloaded": _WDSR_A,
    "wdsr_reloaded_large": dict.fromkeys((2, 3, 4), (37_800_000, None)),
    "san": {2: (15_712_776, 3604), 3: (15_897_416, 1623), 4: (15_860_488, 936)},
    "swinir_light": {2: (910_152, 240.9), 3: (918_267, 109.2), 4: (929_628, 62.8)},
}

# network -> 1e6 elements of convolution outputs for an LR image of 256x256, convolutions
_NTIRE = {"rlfn_ntire": (80.05, 39)}

_NOTES = {
    "rlfn_ntire": "its authors list 0.317 M parameters and 19.70 G multiply-adds for an LR image "
    "of 256x256",
    "carn": "x2, x3 and x4 in one network; one scale alone has 964,163, 1,148,803 or 1,111,875",
    "carn_m": "x2, x3 and x4 in one network, of which the paper prints 412 K; one scale alone has "
    "257,027, 303,427 or 294,147",
    "msrn": "retrained by its authors, not the paper's",
    "rfdn": "the variant of AIM 2020",
    "san": "with layers that its module never uses; multiply-adds without those of attention",
    "swinir_light": "the paper prints 878, 886 and 897 K without 32,400 of bias tables, and 195.6, "
    "87.2 and 49.6 G for an output of about 1024x720",
}

# network -> scale -> source and scores
# fmt: off
_SCORES: dict[str, dict[int, tuple[str, dict[str, PublishedScores]]]] = {
    "rlfn": {
        2: (LATER, _row(
            (38.07, 0.9607), (33.72, 0.9187), (32.22, 0.9000), (32.33, 0.9299),
        )),
        4: (LATER, _row(
            (32.24, 0.8952), (28.62, 0.7813), (27.60, 0.7364), (26.17, 0.7877),
        )),
    },
    "rlfn_s": {
        2: (MEMORY, _row(
            (38.05, 0.9607), (33.68, 0.9172), (32.19, 0.8997), (32.17, 0.9286),
        )),
        4: (MEMORY, _row(
            (32.23, 0.8961), (28.61, 0.7818), (27.58, 0.7359), (26.15, 0.7866),
        )),
    },
    "imdn": {
        2: (PROJECT, _row(
            (38.00, 0.9605), (33.63, 0.9177), (32.19, 0.8996), (32.17, 0.9283), (38.88, 0.9774),
        )),
        3: (LATER, _row(
            (34.36, 0.9270), (30.32, 0.8417), (29.09, 0.8046), (28.17, 0.8519), (33.61, 0.9445),
        )),
        4: (LATER, _row(
            (32.21, 0.8948), (28.58, 0.7811), (27.56, 0.7353), (26.04, 0.7838), (30.45, 0.9075),
        )),
    },
    "carn": {
        2: (PROJECT, _row(
            (37.76, 0.9590), (33.52, 0.9166), (32.09, 0.8978), (31.92, 0.9256),
        )),
        3: (PROJECT, _row(
            (34.29, 0.9255), (30.29, 0.8407), (29.06, 0.8034), (28.06, 0.8493),
        )),
        4: (PROJECT, _row(
            (32.13, 0.8937), (28.60, 0.7806), (27.58, 0.7349), (26.07, 0.7837),
        )),
    },
    "carn_m": {
        2: (PROJECT, _row(
            (37.53, 0.9583), (33.26, 0.9141), (31.92, 0.8960), (31.23, 0.9193),
        )),
        3: (PROJECT, _row(
            (33.99, 0.9236), (30.08, 0.8367), (28.91, 0.8000), (27.55, 0.8385),
        )),
        4: (PROJECT, _row(
            (31.92, 0.8903), (28.42, 0.7762), (27.44, 0.7304), (25.62, 0.7694),
        )),
    },
    "pan": {
        2: (LOG, _row(
            (38.0007, 0.96049), (33.5927, 0.91805), (32.1812, 0.89973), (32.0147, 0.92733),
            (38.7006, 0.97729),
        )),
        3: (LOG, _row(
            (34.4003, 0.92717), (30.3553, 0.84220), (29.1045, 0.80491), (28.1068, 0.85104),
            (33.5833, 0.94476),
        )),
        4: (LOG, _row(
            (32.1311, 0.89481), (28.6107, 0.78215), (27.5914, 0.73627), (26.1060, 0.78544),
            (30.5145, 0.90952),
        )),
    },
    "rfdn": {4: (MEMORY, {DIV2K_RGB: (29.04, None)})},
    "rdn": {
        2: (PROJECT, _row(
            (38.24, 0.9614), (34.01, 0.9212), (32.34, 0.9017), (32.89, 0.9353), (39.18, 0.9780),
        )),
        3: (PROJECT, _row(
            (34.71, 0.9296), (30.57, 0.8468), (29.26, 0.8093), (28.80, 0.8653), (34.13, 0.9484),
        )),
        4: (PROJECT, _row(
            (32.47, 0.8990), (28.81, 0.7871), (27.72, 0.7419), (26.61, 0.8028), (31.00, 0.9151),
        )),
    },
    "msrn": {
        2: (PROJECT, _row(
            (38.07, 0.9608), (33.68, 0.9184), (32.22, 0.9002), (32.32, 0.9304), (38.64, 0.9771),
        )),
        3: (PROJECT, _row(
            (34.48, 0.9276), (30.40, 0.8436), (29.13, 0.8061), (28.31, 0.8560), (33.56, 0.9451),
        )),
        4: (PROJECT, _row(
            (32.25, 0.8958), (28.63, 0.7833), (27.61, 0.7377), (26.22, 0.7905), (30.57, 0.9103),
        )),
    },
    "wdsr_reloaded": {
        2: (PROJECT, _psnr(34.76, 38.08, 32.23, 32.34)),
        3: (PROJECT, _psnr(31.03, 34.45, 29.14, 28.33)),
        4: (PROJECT, _psnr(29.04, 32.22, 27.61, 26.21)),
    },
    "wdsr_reloaded_large": {
        2: (PROJECT, _psnr(35.06, 38.28, 32.38, 33.07)),
        3: (PROJECT, _psnr(31.34, 34.76, 29.32, 28.94)),
        4: (PROJECT, _psnr(29.33, 32.58, 27.78, 26.79)),
    },
    "san": {
        2: (MEMORY, _row(
            (38.31, 0.9620), (34.07, 0.9213), (32.42, 0.9028), (33.10, 0.9370), (39.32, 0.9792),
        )),
        3: (MEMORY, _row(
            (34.75, 0.9300), (30.59, 0.8476), (29.33, 0.8112), (28.93, 0.8671), (34.30, 0.9494),
        )),
        4: (MEMORY, _row(
            (32.64, 0.9003), (28.92, 0.7888), (27.78, 0.7436), (26.79, 0.8068), (31.18, 0.9169),
        )),
    },
    "swinir_light": {
        2: (PROJECT, _row(
            (38.14, 0.9611), (33.86, 0.9206), (32.31, 0.9012), (32.76, 0.9340), (39.12, 0.9783),
        )),
        3: (PROJECT, _row(
            (34.62, 0.9289), (30.54, 0.8463), (29.20, 0.8082), (28.66, 0.8624), (33.98, 0.9478),
        )),
        4: (PROJECT, _row(
            (32.44, 0.8976), (28.77, 0.7858), (27.69, 0.7406), (26.47, 0.7980), (30.92, 0.9151),
        )),
    },
}
# fmt: on
