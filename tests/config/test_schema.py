"""Each dataclass of a configuration checks itself, and the whole checks how they fit."""

import pytest

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        (DataConfig, {"batch_size": 0}, r"data\.batch_size is 0; it must be larger than 0"),
        (DataConfig, {"batch_size": 1.0}, r"data\.batch_size is 1\.0; it must be a whole number"),
        (
            DataConfig,
            {"train": "div2k"},
            r'data\.train is \'div2k\'; .* tuple such as \("folder",\)',
        ),
        (DataConfig, {"weights": ("a",)}, r"data\.weights is .* tuple such as \(0\.7, 0\.3\)"),
        (DataConfig, {"placement": "gpu"}, "must be one of auto, host, device"),
        (
            DataConfig,
            {"train": ("a",), "train_lr": ("b",), "degradation": "bd"},
            "leave one of them",
        ),
        (OptimizerConfig, {"b1": 1.0}, r"optimizer\.b1 is 1\.0; it must be at least 0 and below 1"),
        (
            OptimizerConfig,
            {"clip_norm": -1.0},
            r"optimizer\.clip_norm is -1\.0; it must be larger than 0, or 0",
        ),
        (OptimizerConfig, {"warmup_steps": 2**32}, "it must be from 0 to 2"),
        (OptimizerConfig, {"weight_decay": 0.1}, r"weight_decay is 0\.1, which adam does not know"),
        (ModelConfig, {"name": "edvr"}, "name is 'edvr'; the networks are carn"),
    ],
)
def test_a_part_checks_itself(part, fields, message):
    with pytest.raises(ValueError, match=message):
        part(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "lnln"}, "model is 'lnln'; it must be a ModelConfig"),
        ({"model": ModelConfig(scale=2.0)}, r"model\.scale is 2\.0; it must be a whole number"),
        ({"model": ModelConfig(options={"n_feats": 0})}, "n_feats is 0"),
        ({"time_budget": "soon"}, "time_budget is 'soon'; write a time"),
        ({"init_state": True}, "init_state is true, but init_from is empty"),
        ({"init_state": 1}, "init_state is 1; it must be true or false"),
        ({"spike_factor": 0.5}, r"spike_factor is 0\.5; it must be larger than 1"),
        ({"parallel": "pmap", "data": DataConfig(placement="device")}, "which parallel=pmap"),
        (
            {"optimizer": OptimizerConfig(cosine_steps=10), "steps": 20},
            "cosine_steps is 10, .* and steps is 20",
        ),
    ],
)
def test_the_whole_checks_how_parts_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)
