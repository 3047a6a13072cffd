"""Values of fields: how they are spelled, and their ranges."""

import json
import random
import typing

import numpy as np
import pytest

from lnln_jax.config import DataConfig, OptimizerConfig, TrainConfig, from_dict, override
from lnln_jax.config.listing import list_fields
from lnln_jax.config.paths import with_homes
from lnln_jax.config.values import parse, spell

PATHS = tuple[str, ...]
ODD = (
    "DIV2K (1)",
    "[a]",
    "a,b",
    "(x, y)",
    "'q'",
    '"',
    "~/x",
    "-a",
    "k=v",
    " a ",
    "",
    "[]",
    "ü\udcff",
)
PARTS = ("a", "/", ",", "(", ")", "[", "]", "'", '"', " ", "~", "-", "=", "\\", "\n", "{", "1", "ß")


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("DIV2K (1)", ("DIV2K (1)",)),
        ("DIV2K (1), [b]/(c)", ("DIV2K (1)", "[b]/(c)")),
        ('["a,b", "c"]', ("a,b", "c")),
        ("('a',)", ("a",)),
        ("'a,b'", ("a,b",)),
        ("['a', \"b\"]", ("a", "b")),
        ('["a", ""]', ("a", "")),
        ("[a]", ("[a]",)),
        ("(1)", ("(1)",)),
        ("[1, 2]", ("[1", "2]")),
        ("'it", ("'it",)),
        (r"C:\new\data", (r"C:\new\data",)),
        ("~/a,-b=c", ("~/a", "-b=c")),
        ("", ()),
        ("[]", ()),
    ],
)
def test_folders(text, folders):
    assert parse("data.train", text, PATHS) == folders


@pytest.mark.parametrize("text", ["a,,b", "a,", ",", " , a"])
def test_no_part_is_empty(text):
    with pytest.raises(ValueError, match=r"data\.train is .* has an empty part"):
        parse("data.train", text, PATHS)


def test_every_path_can_be_spelled():
    draw = random.Random(0)
    made = ["".join(draw.choices(PARTS, k=draw.randint(0, 6))) for _ in range(1000)]
    names = [*ODD, *made]
    for _ in range(2000):
        folders = tuple(draw.choices(names, k=draw.randint(0, 3)))
        assert parse("", spell(folders), PATHS) == folders


def test_the_listing_spells_every_value():
    config = TrainConfig(
        data=DataConfig(train=("a,b", "DIV2K (1)"), weights=(0.25, 3.0), validation="[x], y"),
        init_from="~/x=y",
    )
    spelled = [f"{field.key}={field.value}" for field in list_fields(config)]
    again = override(TrainConfig(), spelled)
    assert (again.data, again.init_from) == (config.data, config.init_from)
    assert 'data.train=["a,b", "DIV2K (1)"]' in spelled


def test_homes_are_expanded_in_every_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    data = DataConfig(train=("~/a", "b~"), train_lr=("~/c", "~nobody_here/d"), validation="~")
    config = with_homes(
        TrainConfig(data=override(TrainConfig(data=data), ["data.data_dir=~/e"]).data)
    )
    assert config.data.train == (f"{tmp_path}/a", "b~")
    assert config.data.train_lr == (f"{tmp_path}/c", "~nobody_here/d")
    assert (config.data.validation, config.data.data_dir) == (str(tmp_path), f"{tmp_path}/e")
    assert with_homes(TrainConfig(init_from="~/f")).init_from == f"{tmp_path}/f"


@pytest.mark.skipif("sys.platform == 'win32'")
def test_without_a_home_the_path_is_named(monkeypatch):
    monkeypatch.setenv("HOME", "")
    with pytest.raises(ValueError, match=r"'~/a' begins with ~, .* no home folder; set HOME"):
        with_homes(TrainConfig(data=DataConfig(train=("~/a",))))


def numbers() -> dict[str, type]:
    """All fields of the configuration that are numbers."""
    kinds = {"int": int, "float": float, "float,...": float}
    return {f.key: kinds[f.type] for f in list_fields(TrainConfig()) if f.type in kinds}


@pytest.mark.parametrize("key", numbers())
def test_every_number_has_its_range(key):
    outside = ["-1", "1e999", "nan", "-inf"]
    outside += [str(10**30)] if numbers()[key] is int else ["-1e-9"]
    for text in outside:
        with pytest.raises(ValueError, match=key.rpartition(".")[2]):
            override(TrainConfig(), ["data.train=a", f"{key}={text}"])


@pytest.mark.parametrize("key", numbers())
def test_every_number_of_a_file_has_its_range(key):
    part, _, name = key.rpartition(".")
    cls = {"": TrainConfig, "data": DataConfig, "optimizer": OptimizerConfig}.get(part)
    tuples = cls and typing.get_origin(typing.get_type_hints(cls)[name]) is tuple
    for value in (-1, float("nan"), float("inf"), 10**30, True):
        if value == 10**30 and numbers()[key] is float and part != "model":
            continue  # a large number, and finite
        fields = {name: [value] if tuples else value}
        if part == "model":
            fields = {"options": fields} if name != "scale" else fields
        tree = {part: fields} if part else fields
        with pytest.raises(ValueError, match=name):
            from_dict(tree)


def test_numbers_of_numpy_are_numbers():
    config = TrainConfig(
        steps=np.int64(10), spike_factor=np.float32(2.5), seed=np.array(2**32 - 1, np.uint32)
    )
    assert config == TrainConfig(steps=10, spike_factor=2.5, seed=2**32 - 1)
    assert json.dumps([config.steps, config.spike_factor, config.seed])
    data = DataConfig(train=("a",), weights=(np.float32(0.1),), batch_size=np.int32(4))
    assert data == DataConfig(train=("a",), weights=(0.1,), batch_size=4)
