"""Advice of `lnln doctor`, which depends on facts alone."""

import tomllib

import pytest

from lnln_jax.doctor import machine
from lnln_jax.doctor.advice import Facts, advise
from tests.support.checkout import ROOT

GIB = 1 << 30

CPU = Facts(
    backend="cpu",
    system="Linux",
    python=(3, 12),
    jax=(0, 12),
    cores=2,
    load=0.1,
    free_bytes=16 * GIB,
    products={"float32": 2e11, "bfloat16": 1e11},
    steps={"float32": 0.2},
    patch=32,
    patch_bytes={"float32": 16 << 20},
    huge_pages="madvise",
    tunables="glibc.malloc.hugetlb=1",
)
GPU = Facts(
    backend="gpu",
    system="Linux",
    python=(3, 11),
    jax=(0, 10),
    free_bytes=60 * GIB,
    steps={"tf32": 0.09, "bfloat16": 0.05},
    patch=48,
    patch_bytes={"tf32": 400 << 20, "bfloat16": 200 << 20},
)


def advice(facts: Facts, **changes: object) -> dict[str, str]:
    return dict(advise(Facts(**vars(facts) | changes)))


def test_advice_for_a_cpu():
    found = advice(CPU)
    assert found["dtype=float32"] == "a product in bfloat16 is 0.50 times as fast"
    # 0.8 * 16 GiB / 16 MiB = 819, and a multiple of 8
    assert "16 MiB a patch of LR 32x32" in found["data.batch_size up to about 816"]
    # 8 GiB / (1.25 * 3 * 2040**2 bytes)
    assert "550 images" in found["data.placement=auto"]
    assert "bfloat16" in next(iter(advice(CPU, products={"float32": 1.0, "bfloat16": 4.0})))
    assert not any("JAX" in what or "idle" in what for what in found)


def test_advice_for_a_gpu():
    found = advice(GPU)
    assert found["dtype=bfloat16"] == "a step takes 50 ms, and 1.80 times as long in tf32"
    assert "data.batch_size up to about 240" in found
    assert "2064 images" in found["data.placement=device"]
    assert not any("GLIBC" in what or "JAX" in what for what in found)
    slower = advice(GPU, steps={"tf32": 0.05, "bfloat16": 0.048})  # not worth the precision
    assert "dtype=float32" in slower
    assert "data.batch_size up to about 120" in slower


def test_advice_about_what_disturbs():
    assert "end other processes on the GPU" in advice(GPU, used_bytes=9 * GIB)
    assert (
        "3.0 processes wanted its 2 cores"
        in advice(CPU, load=3.0)["ask again when the machine is idle"]
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tunables": ""}, "export GLIBC_TUNABLES=glibc.malloc.hugetlb=1 before lnln starts"),
        ({"huge_pages": "never"}, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
        ({"jax": (0, 11)}, "JAX 0.12"),
        ({"jax": (0, 10), "python": (3, 11)}, "JAX 0.12, which needs Python 3.12"),
        ({"missing": {"train": ("grain",)}}, 'pip install "lnln-jax[train]"'),
        ({"missing": {"16bit": ("imagecodecs",)}}, 'pip install "lnln-jax[16bit]"'),
    ],
)
def test_advice_that_depends_on_one_fact(changes, what):
    assert any(found.startswith(what) for found in advice(CPU, **changes))
    assert what not in advice(CPU)


def test_advice_where_nothing_was_measured():
    nothing = Facts(backend="tpu", system="Linux", python=(3, 12), jax=(0, 12))
    assert advise(nothing) == []


def test_the_extras_are_those_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for name, packages in machine.EXTRAS.items():
        required = {item.split(">")[0].split("=")[0] for item in extras[name]}
        assert required == set(packages)
