"""All fields of a config with values, types and meanings."""

import dataclasses

import pytest

from lnln_jax.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    build_module,
    load_config,
    override,
)
from lnln_jax.config.listing import list_fields, meanings
from lnln_jax.config.shipped import config_names
from lnln_jax.models import MODELS


@pytest.mark.parametrize("part", [ModelConfig, DataConfig, OptimizerConfig, TrainConfig])
def test_every_field_has_a_meaning(part):
    assert meanings(part).keys() == {field.name for field in dataclasses.fields(part)}


@pytest.mark.parametrize("model", MODELS)
def test_what_is_listed_has_a_type_and_a_meaning(model):
    for field in list_fields(TrainConfig(model=ModelConfig(model))):
        assert field.type
        assert field.meaning, field.key
        assert not field.meaning.endswith(".")


@pytest.mark.parametrize("name", config_names())
def test_the_list_as_overrides_makes_the_same_config(name):
    config = load_config(name)
    again = override(TrainConfig(), [f"{field.key}={field.value}" for field in list_fields(config)])
    assert build_module(again) == build_module(config)  # whose options are all spelled out
    assert dataclasses.replace(again, model=config.model) == config


def test_fields_and_their_types():
    fields = {field.key: field for field in list_fields(load_config("lnln_light_x2", ["seed=3"]))}
    assert fields["seed"][1:3] == ("3", "int")
    assert fields["data.train"][1:3] == ("data/training_set/train", "str,...")
    assert fields["data.weights"][1:3] == ("", "float,...")
    assert fields["loss"][1:3] == ("l1", "l1|l2")
    assert fields["init_state"][1:3] == ("false", "true|false")
    assert fields["model.n_resgroups"][1:3] == ("2", "int")
    assert fields["model.n_feats"][1:3] == ("64", "int")  # the network's own default
    assert "dtype" in fields
    assert "model.dtype" not in fields
    assert fields["init_from"].meaning.endswith("a shallower LNLN or DRCA grows")
