"""Tests of the training pipeline: which patches batches hold, whoever cuts them."""

import itertools
import json

import numpy as np
import pytest

from lnln_jax.data import PairSource, load_folder, make_train_iterator
from lnln_jax.data.sampling import Sampler, offsets
from lnln_jax.images.arrays import dihedral, inverse_dihedral
from lnln_jax.images.resize import imresize


def coded_source(count, *, height=12, width=17, scale=2, first=0):
    """Images whose pixels tell where they are: row, column and image number in the channels.

    HR pixels hold the row and column of the LR pixel they belong to, so a patch must be equal to
    its LR patch with every pixel repeated `scale` times.
    """
    pairs = []
    for number in range(first, first + count):
        rows, columns = np.mgrid[:height, :width]
        lr = np.stack([rows, columns, np.full_like(rows, number)], -1).astype(np.uint8)
        pairs.append((lr, lr.repeat(scale, 0).repeat(scale, 1)))
    return PairSource(pairs, name=f"coded {first}", scale=scale)


def make(sources, **options):
    options = {"lr_patch_size": 6, "batch_size": 4, "seed": 0} | options
    return make_train_iterator(sources, **options)


def numbers(batches):
    """Returns the image numbers of the patches of some batches of `coded_source`."""
    return np.concatenate([batch["lr"][:, 0, 0, 2] for batch in batches]).tolist()


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        np.testing.assert_array_equal(batch["lr"], other["lr"])
        np.testing.assert_array_equal(batch["hr"], other["hr"])


@pytest.mark.parametrize("weights", [None, [1.0, 1.0]])
def test_batches_of_one(weights):
    sources = [coded_source(2), coded_source(2, first=2)]
    batches = list(itertools.islice(make(sources, batch_size=1, weights=weights), 4))
    assert all(batch["hr"].shape == (1, 12, 12, 3) for batch in batches)
    assert sorted(numbers(batches)) == [0, 1, 2, 3]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_patches_are_aligned_crops_in_eight_symmetries(scale):
    source = coded_source(5, scale=scale)
    seen = set()
    with_corners = set()
    for batch in itertools.islice(make([source], batch_size=8), 200):
        assert batch["lr"].shape == (8, 6, 6, 3)
        assert batch["hr"].shape == (8, 6 * scale, 6 * scale, 3)
        assert batch["lr"].dtype == batch["hr"].dtype == np.uint8
        np.testing.assert_array_equal(batch["hr"], batch["lr"].repeat(scale, 1).repeat(scale, 2))
        for patch in batch["lr"]:
            top, left, number = patch.min(axis=(0, 1))
            crop = source[number][0][top : top + 6, left : left + 6]
            found = [i for i in range(8) if np.array_equal(patch, dihedral(crop, i))]
            assert len(found) == 1
            seen.update(found)
            with_corners.add((top, left))
    assert seen == set(range(8))
    assert with_corners == set(itertools.product(range(12 - 6 + 1), range(17 - 6 + 1)))


def test_patch_of_a_photograph_is_the_aligned_slice(data_dir):
    source = load_folder(data_dir / "Set5" / "HR", scale=2, min_lr_size=24)
    batch = next(make([source], lr_patch_size=24))
    symmetries = Sampler([5], batch_size=4, seed=0)(0).symmetry.tolist()
    assert len(set(symmetries)) > 1
    for *patches, symmetry in zip(batch["lr"], batch["hr"], symmetries, strict=True):
        # As they lay in the image, since rounding knows heights from widths.
        lr, hr = (np.ascontiguousarray(inverse_dihedral(patch, symmetry)) for patch in patches)
        # Bicubic LR of the HR patch is the LR patch, but where the kernel leaves the patch.
        np.testing.assert_array_equal(imresize(hr, 0.5)[2:-2, 2:-2], lr[2:-2, 2:-2])


def test_image_of_exactly_the_patch_size():
    batch = next(make([coded_source(1, height=6, width=6)]))
    assert batch["lr"].shape == (4, 6, 6, 3)


def test_an_epoch_visits_every_image_once():
    sources = [coded_source(5), coded_source(3, height=30, first=5)]
    order = numbers(itertools.islice(make(sources, batch_size=4), 6))
    epochs = [order[:8], order[8:16], order[16:]]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_weights_set_the_shares_of_the_sources():
    sources = [coded_source(3), coded_source(3, first=3)]
    order = np.array(numbers(itertools.islice(make(sources, weights=[3, 1]), 48)))
    assert (order < 3).mean() == pytest.approx(0.75, abs=0.02)
    # Each source goes through epochs of its own, in its own order.
    small, other = order[order < 3], order[order >= 3] - 3
    assert all(sorted(epoch) == [0, 1, 2] for epoch in small[:144].reshape(-1, 3))
    assert small[:48].tolist() != other[:48].tolist()


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_batches_do_not_depend_on_threads(num_threads):
    sources = [coded_source(5), coded_source(4, first=5)]
    reference = list(itertools.islice(make(sources, weights=[1, 2]), 12))
    iterator = make(sources, weights=[1, 2], num_threads=num_threads, prefetch=5)
    assert_same(itertools.islice(iterator, 12), reference)


def test_seeds_give_different_streams():
    first, second = (next(make([coded_source(5)], seed=seed)) for seed in (0, 1))
    assert (first["lr"] != second["lr"]).any()


def test_resumes_from_the_middle():
    sources = [coded_source(5), coded_source(4, first=5)]
    iterator = make(sources)
    for _ in range(7):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    reference = [next(iterator) for _ in range(5)]
    resumed = make(sources, num_threads=0)
    resumed.set_state(state)
    assert_same([next(resumed) for _ in range(5)], reference)
    iterator.set_state(state)
    assert_same([next(iterator) for _ in range(5)], reference)


@pytest.mark.parametrize("num_workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_batches_do_not_depend_on_worker_processes(num_workers):
    sources = [coded_source(5), coded_source(4, first=5)]
    reference = list(itertools.islice(make(sources, weights=[1, 2]), 9))
    iterator = make(sources, weights=[1, 2], num_workers=num_workers, prefetch=2)
    try:
        assert_same(itertools.islice(iterator, 5), reference[:5])
        state = iterator.get_state()
        alone = make(sources, weights=[1, 2])
        alone.set_state(state)  # which another number of workers goes on from
        assert_same(itertools.islice(alone, 4), reference[5:])
        iterator.set_state({"next_step": 2})
        assert_same(itertools.islice(iterator, 2), reference[2:4])
    finally:
        iterator.close()


@pytest.mark.parametrize(("count", "num_workers"), [(2, 0), (4, 0), (2, 1)])
def test_hosts_together_have_the_batches_of_one(count, num_workers):
    sources = [coded_source(5), coded_source(4, first=5)]
    parts = [
        make(sources, process_index=i, process_count=count, num_workers=num_workers)
        for i in range(count)
    ]
    for batch in itertools.islice(make(sources), 5):
        shares = [next(part) for part in parts]
        assert all(len(share["lr"]) == 4 // count for share in shares)
        joined = {key: np.concatenate([share[key] for share in shares]) for key in batch}
        assert_same([joined], [batch])
    for part in parts:
        part.close()


def test_a_closed_stream_goes_on():
    iterator = make([coded_source(5)], num_threads=2)
    reference = list(itertools.islice(make([coded_source(5)]), 4))
    batches = []
    for _ in range(4):
        batches.append(next(iterator))
        iterator.close()
    assert_same(batches, reference)


# ---- the sampler ----


def test_the_sampler_depends_on_seed_and_step_alone():
    sampler = Sampler([7, 3], batch_size=16, seed=5, weights=[1, 1])
    again = Sampler([7, 3], batch_size=16, seed=5, weights=[1, 1])
    steps = [1000, 3, 0, 12345678]
    for step in steps:
        for array, same in zip(sampler(step), again(step), strict=True):
            np.testing.assert_array_equal(array, same, strict=True)
    assert len({tuple(sampler(step).top.tolist()) for step in steps}) == 4


@pytest.mark.parametrize("weights", [[1, 1], [0.9, 0.05, 0.05], [1, 2000], [5, 3, 2]])
def test_every_stretch_has_the_shares_of_the_weights(weights):
    sampler = Sampler([10] * len(weights), batch_size=1000, seed=0, weights=weights)
    shares = np.maximum(np.array(weights) / sum(weights), 0.001)
    for step in (0, 7):
        source = sampler(step).image // 10
        counts = np.bincount(source, minlength=len(weights)) / 1000
        np.testing.assert_allclose(counts, shares, atol=0.0011)
        half = np.bincount(source[:500], minlength=len(weights)) / 500
        np.testing.assert_allclose(half, shares, atol=0.005)  # no source comes in a block


def test_patches_and_symmetries_are_uniform():
    sampler = Sampler([4], batch_size=70_000, seed=0)
    samples = sampler(0)
    corners = offsets(samples, np.full((70_000, 2), (14, 10)), 8)
    for axis, room in ((0, 7), (1, 3)):
        counts = np.bincount(corners[:, axis])
        assert len(counts) == room
        # Within five standard deviations of the mean of a binomial distribution.
        assert abs(counts - 70_000 / room).max() < 5 * np.sqrt(70_000 / room)
    assert abs(np.bincount(samples.symmetry) - 70_000 / 8).max() < 5 * np.sqrt(70_000 / 8)
    assert abs(np.corrcoef(samples.top, samples.left)[0, 1]) < 5 / np.sqrt(70_000)


def test_offsets_reach_both_ends_and_no_further():
    ends = np.array([0, 2**32 - 1], np.uint32)
    samples = Sampler([1], batch_size=2, seed=0)(0)._replace(top=ends, left=ends)
    assert offsets(samples, np.array([[50, 99]] * 2), 48).tolist() == [[0, 0], [2, 51]]
    assert offsets(samples, np.array([[48, 48]] * 2), 48).tolist() == [[0, 0], [0, 0]]


# ---- what can't be ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr_patch_size": 0}, "lr_patch_size is 0; it must be a whole number of at least 1"),
        ({"lr_patch_size": 13}, "lr_patch_size is 13.*side of 12"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number of at least 1"),
        ({"seed": -1}, "seed is -1; it must be a whole number of at least 0"),
        ({"num_threads": -1}, "num_threads is -1; it must be a whole number of at least 0"),
        ({"num_workers": -1}, "num_workers is -1; it must be a whole number of at least 0"),
        ({"process_count": 3}, "batch_size 4 cannot be shared among 3"),
        ({"process_index": 1}, "this is number 1"),
        ({"prefetch": 0}, "prefetch is 0; it must be a whole number of at least 1"),
        ({"weights": [1, 1]}, "2 weights for 1 sources"),
        ({"weights": [0]}, "weights must be positive"),
    ],
)
def test_make_train_iterator_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        make([coded_source(2)], **options)


def test_make_train_iterator_refuses_sources():
    with pytest.raises(ValueError, match="sources is empty"):
        make([])
    with pytest.raises(ValueError, match=r"same scale.*x2.*x3"):
        make([coded_source(2), coded_source(2, scale=3)])
    with pytest.raises(ValueError, match="has no images"):
        make([PairSource([], name="nothing", scale=2)])
