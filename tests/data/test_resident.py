"""Tests of images on the device: the batches are the host's, bit for bit."""

import json

import jax
import numpy as np
import optax
import pytest

from lnln_jax.data import PairSource, dead_leaves_pairs, make_train_iterator
from lnln_jax.data.batches import Stream, make_sampler
from lnln_jax.data.resident import Planner, cut_patches, put_images, resident_bytes
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from lnln_jax.training.parallel import Layout
from lnln_jax.training.state import create_state
from lnln_jax.training.step import make_gradients, make_train_steps, make_update
from tests.data.test_batches import coded_source
from tests.support.devices import run_on_devices

ONE = Layout((jax.devices()[0],)).mesh
OPTIONS = {"lr_patch_size": 6, "batch_size": 8, "seed": 3}


def planned(sources, shapes, **options):
    options = OPTIONS | options
    return Stream(Planner(make_sampler(sources, **options), shapes, options["lr_patch_size"]))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("weights", [None, [0.7, 0.3]])
def test_patches_are_those_that_the_host_cuts(scale, weights):
    # Of several shapes, portrait and landscape, and one that is just a patch.
    sources = [
        coded_source(5, height=9, width=23, scale=scale),
        PairSource(
            [
                *coded_source(3, scale=scale, first=5),
                *coded_source(1, height=6, width=6, scale=scale),
            ],
            name="mixed",
            scale=scale,
        ),
    ]
    images, shapes = put_images(sources, ONE)
    assert images.lr.nbytes + images.hr.nbytes == resident_bytes(sources)
    assert shapes.tolist() == [list(lr.shape[:2]) for source in sources for lr, _ in source]
    cut = jax.jit(lambda images, plan: cut_patches(images, plan, 6))
    plans = planned(sources, shapes, weights=weights)
    batches = make_train_iterator(sources, **OPTIONS, weights=weights)
    for _ in range(12):
        batch, expected = cut(images, next(plans)), next(batches)
        for key in ("lr", "hr"):
            np.testing.assert_array_equal(batch[key], expected[key], strict=True)


def test_images_are_sent_in_pieces(monkeypatch):
    source = dead_leaves_pairs(7, size=(24, 40), scale=2, seed=0)
    monkeypatch.setattr("lnln_jax.data.resident._CHUNK", 3 * 24 * 40 * 3)
    calls = []
    images, _ = put_images([source], ONE, lambda *count: calls.append(count))
    assert calls == [(3, 7), (6, 7), (7, 7)]
    for i, (lr, hr) in enumerate(source):
        np.testing.assert_array_equal(images.lr[i], lr)
        np.testing.assert_array_equal(images.hr[i], hr)


@pytest.fixture(scope="module")
def training():
    """What a step does, and a fresh state."""
    module = create_model("edsr", 2, n_resblocks=1, n_feats=8, res_scale=1.0)
    optimizer = optax.adam(1e-3)
    update = make_update(make_gradients(module), optimizer, schedule=optax.constant_schedule(1e-3))

    def fresh():
        state = create_state(initialize(module, 0), optimizer, ema=False)
        return jax.device_put(state, jax.devices()[0])

    with jax.numpy_dtype_promotion("standard"):  # Optax raises a float to an integer power
        yield update, fresh


@pytest.mark.slow
def test_how_steps_are_grouped_changes_no_bit(training):
    update, fresh = training
    source = dead_leaves_pairs(3, size=32, scale=2, seed=0)
    images, shapes = put_images([source], ONE)
    steps = make_train_steps(update, lambda images, plan: cut_patches(images, plan, 6))

    def run(groups):
        stream, state, rows = planned([source], shapes), fresh(), []
        for n in groups:
            plans = np.stack([next(stream) for _ in range(n)])
            plans = np.concatenate([plans, plans[:1].repeat(6 - n, axis=0)])
            state, metrics = steps(state, images, plans, np.int32(n))
            rows.append(jax.tree.map(lambda row, n=n: np.asarray(row[:n]), metrics))
        joined = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
        return jax.device_get(state), joined

    reference, metrics = run([1] * 6)
    assert int(reference.step) == 6
    assert len(metrics["loss"]) == 6
    for groups in ([6], [4, 2], [1, 5]):
        state, same = run(groups)
        jax.tree.map(np.testing.assert_array_equal, state, reference)
        jax.tree.map(np.testing.assert_array_equal, same, metrics)
    assert steps._cache_size() == 1  # one program for any number


@pytest.mark.slow
def test_steps_on_the_device_are_those_on_the_host(training):
    update, fresh = training
    source = dead_leaves_pairs(3, size=32, scale=2, seed=0)
    images, shapes = put_images([source], ONE)
    steps = make_train_steps(update, lambda images, plan: cut_patches(images, plan, 6))
    stream = planned([source], shapes)
    plans = np.stack([next(stream) for _ in range(4)])
    on_device, metrics = steps(fresh(), images, plans, np.int32(4))
    on_host, losses, step = fresh(), [], jax.jit(update)
    for _, batch in zip(range(4), make_train_iterator([source], **OPTIONS), strict=False):
        on_host, row = step(on_host, batch)
        losses.append(row["loss"])
    # Two programs of the same arithmetic, which round differently.
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-5)
    difference = optax.tree.norm(
        jax.tree.map(np.subtract, on_device.variables["params"], on_host.variables["params"])
    )
    assert difference < 1e-5 * optax.tree.norm(on_host.variables["params"])


SHARDED = """
import json
import jax, numpy as np, optax
from lnln_jax.data import dead_leaves_pairs, make_train_iterator
from lnln_jax.data.batches import Stream, make_sampler
from lnln_jax.data.resident import Planner, cut_patches, put_images
from lnln_jax.models import create_model
from lnln_jax.training.parallel import Layout
from lnln_jax.models.variables import initialize
from lnln_jax.training.state import create_state
from lnln_jax.training.step import make_gradients, make_train_steps, make_update
from jax.sharding import NamedSharding, PartitionSpec

sources = [dead_leaves_pairs(5, size=(24, 40), scale=2, seed=0)]
options = dict(lr_patch_size=6, batch_size=8, seed=3)
host = make_train_iterator(sources, **options)
expected = [next(host) for _ in range(3)]
module = create_model("drca", 2, n_resgroups=1, n_resblocks=1, n_feats=8, reduction=4)
optimizer = optax.adam(1e-3)
update = make_update(make_gradients(module), optimizer, schedule=optax.constant_schedule(1e-3))

for count, shared in ((1, False), (2, False), (4, True)):
    images, shapes = put_images(sources, Layout(jax.devices()[:count]).mesh, shared=shared)
    stream = Stream(Planner(make_sampler(sources, **options), shapes, 6))
    plans = np.stack([next(stream) for _ in range(3)])
    cut = jax.jit(lambda images, plan: cut_patches(images, plan, 6))
    for plan, batch in zip(plans, expected, strict=True):
        for key, patches in cut(images, plan).items():
            np.testing.assert_array_equal(patches, batch[key], strict=True)
    shares = [shard.data.nbytes for shard in images.hr.addressable_shards]
    state = create_state(initialize(module, 0), optimizer, ema=False)
    if count > 1:
        state = jax.device_put(state, NamedSharding(images.mesh, PartitionSpec()))
    steps = make_train_steps(update, lambda images, plan: cut_patches(images, plan, 6))
    state, metrics = steps(state, images, plans, np.int32(3))
    print(json.dumps({"shares": shares, "loss": np.asarray(metrics["loss"]).tolist()}))
"""


@pytest.mark.slow
def test_images_on_several_devices_whole_and_in_shares(tmp_path):
    output = run_on_devices(SHARDED, 4, tmp_path)
    one, *others = map(json.loads, output.splitlines())
    assert one["shares"] == [5 * 24 * 40 * 3]
    for several, images in zip(others, ([5, 5], [2, 2, 2, 2]), strict=True):
        assert several["shares"] == [count * 24 * 40 * 3 for count in images]
        # The batch is divided among the devices, so sums have another order.
        np.testing.assert_allclose(several["loss"], one["loss"], rtol=1e-5)
