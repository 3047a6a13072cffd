"""What is published of networks: complete, plausible, and of the networks that there are."""

import pytest

from lnln_jax.evaluation.paper import BENCHMARKS, TABLE_1
from lnln_jax.evaluation.published import DIV2K_RGB, PublishedRow, all_published, published


def test_a_row_by_network_and_scale() -> None:
    rlfn = published("rlfn", 2)
    assert rlfn is not None
    assert rlfn.score("Set5") == (38.07, 0.9607)
    assert rlfn.score("bsd100") == rlfn.score("B100") == (32.22, 0.9000)
    assert rlfn.score("Manga109") is None
    assert (rlfn.parameters, rlfn.multiply_adds) == (526_856, 115.4)
    assert rlfn.certain
    assert published("rlfn", 8) is None
    assert published("nothing", 2) is None


def test_what_is_quoted_from_memory_says_so() -> None:
    uncertain = {row.network for row in all_published() if not row.certain}
    assert uncertain == {"rlfn_s", "san", "rfdn"}


def test_the_papers_own_table_is_there_and_not_a_copy() -> None:
    lnln = published("lnln", 2)
    assert lnln is not None
    assert tuple(lnln.scores[name] for name in BENCHMARKS) == TABLE_1[2]["LNLN"]
    assert lnln.parameters == 2_040_000
    bicubic = published("bicubic", 4)
    assert bicubic is not None
    assert bicubic.score("Manga109") is None  # of another convention than the other four


def test_rows_are_distinct_and_plausible() -> None:
    keys = [(row.network, row.scale) for row in all_published()]
    assert keys == sorted(set(keys))
    for row in all_published():
        assert {*row.scores} <= {*BENCHMARKS, DIV2K_RGB}
        assert bool(row.scores) == bool(row.source)
        for psnr, ssim in row.scores.values():
            assert 20 < psnr < 40
            assert ssim is None or 0.65 < ssim < 0.99


@pytest.mark.parametrize("benchmark", [*BENCHMARKS, DIV2K_RGB])
def test_scores_fall_with_the_scale(benchmark: str) -> None:
    by_network: dict[str, list[PublishedRow]] = {}
    for row in all_published():
        if row.score(benchmark):
            by_network.setdefault(row.network, []).append(row)
    for rows in by_network.values():
        psnr = [row.scores[benchmark][0] for row in rows]
        assert psnr == sorted(psnr, reverse=True)
