"""What the script on scaling reads off compiled steps, and its model, at tiny size."""

import json

import jax
import jax.numpy as jnp
import pytest

from lnln_jax.models import create_model
from lnln_jax.training.parallel import Layout
from scripts.benchmarks import communication_model, scaling
from scripts.benchmarks.collectives import Collective
from tests.support.checkout import run_script

TINY = {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4}


def run(folder, *arguments):
    options = [f"--set={key}={value}" for key, value in TINY.items()]
    sizes = ("--batch", "2", "--lr-patch-size", "8", "--output", folder)
    return run_script("benchmarks.scaling", *options, *sizes, *arguments)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaling")
    arguments = ("--models", "lnln", "--fsdp", "edsr", "--devices", "16")
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stderr
    numbers = json.loads((folder / "scaling.json").read_text())
    table = (folder / "scaling.md").read_text()
    assert table in done.stdout
    return {row["case"]: row for row in numbers["trainings"]}, table


# ---- what is sent ----


@pytest.mark.slow
def test_batch_norm_of_all_costs_three_sums_for_each(results):
    (on,) = results[0]["lnln, batch_norm=global"]["on"]
    largest, *small = on["collectives"]
    normalizations = 2 * TINY["n_resblocks"]
    assert largest[0] == "all-reduce"
    assert largest[1] >= on["parameter_bytes"]
    assert largest[2] == 1
    assert sum(times for _, _, times in small) == 3 * normalizations
    # A mean, a variance, and the gradients of both together; float32.
    channels = 4 * TINY["n_feats"]
    assert small == [
        ["all-reduce", 2 * channels, normalizations],
        ["all-reduce", channels, 2 * normalizations],
    ]


@pytest.mark.slow
def test_local_batch_norm_communicates_once(results):
    for on in results[0]["lnln, batch_norm=local"]["on"]:
        ((kind, size, times),) = on["collectives"]
        assert (kind, times) == ("all-reduce", 1)
        # With the parameters go the loss and two running statistics of each normalisation.
        statistics = 2 * 2 * TINY["n_resblocks"] * TINY["n_feats"]
        assert size == on["parameter_bytes"] + 4 * (statistics + 1)
        assert on["state_bytes_per_device"] == on["state_bytes"]


@pytest.mark.slow
def test_fsdp_gathers_and_scatters_what_is_cut(results):
    for on in results[0]["edsr, parallel=fsdp"]["on"]:
        sent = {"all-gather": 0, "all-reduce": 0, "reduce-scatter": 0}
        for kind, size, times in on["collectives"]:
            sent[kind] += size * times
        assert sent["all-gather"] == sent["reduce-scatter"]
        assert 0.9 * on["parameter_bytes"] < sent["all-gather"] <= on["parameter_bytes"]
        assert sent["all-reduce"] >= on["parameter_bytes"] - sent["all-gather"]
        # Adam keeps two arrays for each of the parameters, cut as they are.
        cut = 3 * sent["all-gather"]
        other = on["state_bytes"] - cut
        assert on["state_bytes_per_device"] == other + cut // on["devices"]


def test_the_state_on_a_device_is_cut_where_it_can_be():
    shapes = [
        jax.ShapeDtypeStruct((3, 3, 64, 256), jnp.float32),
        jax.ShapeDtypeStruct((64,), jnp.float32),  # too small to cut
    ]
    total = 4 * (9 * 64 * 256 + 64)
    device = jax.devices()[0]
    assert scaling.kept(Layout((device,) * 8, "auto"), shapes) == total
    assert scaling.kept(Layout((device,) * 8, "fsdp"), shapes) == 4 * (9 * 8 * 256 + 64)
    assert scaling.kept(Layout((device,) * 512, "fsdp"), shapes) == total  # no axis is so long


def test_sizes_are_those_of_whole_arrays():
    found = [
        Collective("reduce-scatter", 100, 1),
        Collective("all-reduce", 8, 3),
        Collective("all-gather", 800, 1),
        Collective("all-reduce", 8, 4),
    ]
    assert scaling.whole(found, 8) == [
        ("all-gather", 800, 1),
        ("reduce-scatter", 800, 1),
        ("all-reduce", 8, 7),
    ]
    assert scaling.kinds(found) == "1 all-gather, 7 all-reduce, 1 reduce-scatter"


# ---- what it would cost ----


@pytest.mark.parametrize(
    ("devices", "latency", "transfer"),
    [
        (1, 6.8e-6, 0),
        (2, 8.0e-6, 1e-3),  # 2 * 1/2 of 450 MB at 450 GB/s
        (8, 15.2e-6, 1.75e-3),
        # And 2 * 7/8 of the eighth of 450 MB at 50 GB/s; three levels of 8 nodes.
        (64, 45.2e-6, 1.75e-3 + 1.96875e-3),
        (512, 75.2e-6, 1.75e-3 + 2 * 63 / 64 * 1.125e-3),
    ],
)
def test_the_time_of_an_all_reduce(devices, latency, transfer):
    assert communication_model.seconds("all-reduce", 0, devices) == pytest.approx(latency)
    whole = communication_model.seconds("all-reduce", 450_000_000, devices)
    assert whole == pytest.approx(latency + transfer)
    # To scatter and to gather, each started, is what an all-reduce does.
    parts = [
        communication_model.seconds(kind, 450_000_000, devices)
        for kind in ("all-gather", "reduce-scatter")
    ]
    assert sum(parts) == pytest.approx(whole + communication_model.START_SECONDS)


def test_what_has_no_model_is_refused():
    with pytest.raises(ValueError, match="collective all-to-all, of which this model"):
        communication_model.seconds("all-to-all", 8, 8)
    with pytest.raises(ValueError, match="devices is 12; above 8 it must be a multiple of 8"):
        communication_model.seconds("all-reduce", 8, 12)


def test_efficiency_by_hand():
    sent = [Collective("all-reduce", 450_000_000, 1), Collective("all-reduce", 0, 100)]
    got = communication_model.predict(sent, 8, 3e-3)
    assert got["communication_seconds"] == pytest.approx(1.75e-3 + 101 * 15.2e-6)
    assert got["latency_seconds"] == pytest.approx(101 * 15.2e-6)
    assert got["efficiency"] == pytest.approx([3 / 6.2852, 15 / 18.2852])


def test_the_floor_is_the_slower_of_products_and_memory():
    module = create_model("vdsr", 2, n_layers=3, n_feats=8)
    pixels, products = 16 * 16, 9 * (8 + 64 + 8)
    moved = pixels * (1 + 8 + 8 + 8 + 8 + 1) + products
    memory = 3 * 5 * 4 * moved / 3.35e12
    assert communication_model.floor_seconds(module, 5, 8) == pytest.approx(memory)
    slow = communication_model.floor_seconds(module, 5, 8, flop_per_s=1e9)
    assert slow == pytest.approx(3 * 5 * 2 * pixels * products / 1e9)


# ---- the table ----


@pytest.mark.slow
def test_the_table_has_every_training_and_says_that_it_is_a_model(results):
    rows, table = results
    assert "nothing was measured on an accelerator" in table
    for case in rows:
        lines = [line for line in table.splitlines() if line.startswith(f"| {case} |")]
        assert len(lines) == 2  # what is sent, and what it costs
        at_floor, at_more = rows[case]["on"][0]["efficiency"]
        assert lines[1].endswith(f"| {100 * at_floor:.1f} % | {100 * at_more:.1f} % |")
        assert 0 < at_floor < at_more < 1


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="n_resblocks: write a hyper-parameter as n_resblocks=4"):
        scaling.hyper_parameters(["lnln"], ["n_resblocks"])
    with pytest.raises(ValueError, match="--set n_layers: no n_layers in lnln, rcan; leave it out"):
        scaling.hyper_parameters(["lnln", "rcan"], ["n_layers=4"])
    with pytest.raises(ValueError, match="name is 'vdsrr'; the networks are"):
        scaling.cases("vdsrr")
    values = scaling.hyper_parameters(["lnln", "edsr"], ["n_resgroups=1", "n_feats=8"])
    assert values == {"lnln": {"n_resgroups": 1, "n_feats": 8}, "edsr": {"n_feats": 8}}
