"""Configurations from command lines, files and JSON."""

import pytest

from lnln_jax.config import (
    DataConfig,
    ModelConfig,
    TrainConfig,
    build_module,
    differences,
    from_dict,
    load_config,
    override,
)


def test_variants_are_spelled_out():
    config = load_config("edsr_baseline_x2")
    assert config.model.name == "edsr"
    assert config.model.options == {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0}
    config = override(TrainConfig(), ["model.name=vdsr_rgb", "model.n_layers=8"])
    assert config.model == ModelConfig("vdsr", 2, {"n_colors": 3, "n_layers": 8})
    assert override(config, ["model.n_colors=1"]).model.options["n_colors"] == 1


def test_res_scale_is_a_number():
    config = override(TrainConfig(), ["model.name=edsr", "model.res_scale=0.5"])
    assert build_module(config).res_scale == 0.5
    with pytest.raises(ValueError, match="res_scale is 'half'; it must be a number"):
        override(TrainConfig(), ["model.name=edsr", "model.res_scale=half"])


def test_overrides_reach_every_kind_of_field():
    config = override(
        TrainConfig(),
        [
            "steps=1e3",
            "ema_decay=0",
            "dtype=bfloat16",
            "data.train=a, b/c",
            "--data.batch_size=4",
            "optimizer.learning_rate=1",
            "model.scale=4",
            "model.n_feats=32",
            "init_from=runs/x=y",
        ],
    )
    assert config.steps == 1000
    assert config.ema_decay == 0.0
    assert isinstance(config.ema_decay, float)
    assert config.dtype == "bfloat16"
    assert config.data == DataConfig(train=("a", "b/c"), batch_size=4)
    assert config.optimizer.learning_rate == 1.0
    assert config.model == ModelConfig("lnln", 4, {"n_feats": 32})
    assert config.init_from == "runs/x=y"
    assert override(config, ["data.weights=1, 0.5"]).data.weights == (1.0, 0.5)
    assert override(config, ["data.train="]).data.train == ()
    assert override(config, ["data.train=['a', \"b\"]"]).data.train == ("a", "b")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("batch_size=4", "no config field 'batch_size'; the config has .*data"),
        ("data.batchsize=4", "no config field 'data.batchsize'; data has .*batch_size"),
        ("data.batch_size.x=4", "no config field"),
        ("model=lnln", "no config field 'model'"),
        ("model.n_feat=4", "model has .*n_feats"),
        ("data.batch_size=4.5", "data.batch_size is '4.5'; it must be a whole number"),
        ("data.batch_size=True", "whole number"),
        ("data.batch_size=many", "whole number"),
        ("optimizer.learning_rate=fast", "a number"),
        ("dtype=float16", "one of float32, bfloat16"),
        ("steps", "has no '='"),
        ("steps=0", "steps is 0; it must be larger than 0"),
        ("ema_decay=1", "ema_decay is 1.0"),
        ("model.scale=5", "scale is 5"),
        ("model.name=edvr", "the networks are carn, carn_m, carn_m_multi, "),
        ("data.weights=1,many", "data.weights is 'many'; it must be a number"),
        ("data.placement=gpu", "data.placement is 'gpu'; it must be one of auto, host, device"),
        ("data.num_workers=-1", "data.num_workers is -1"),
        ("data.cache_share=1.5", "data.cache_share is 1.5"),
        ("data.degradation=blur", "one of bicubic, bd, dn, jpeg"),
        ("data.weights=1,2", "data.weights has 2 numbers for 0 sources"),
        ("data.dead_leaves=1 data.dead_leaves_size=95", "dead_leaves_size is 95.*at least 96"),
        ("data.train_lr=a", "one LR folder for each HR folder"),
    ],
)
def test_wrong_overrides_say_what_exists(item, message):
    with pytest.raises(ValueError, match=message):
        override(TrainConfig(), item.split(" "))


def test_booleans():
    for text, value in {"true": True, "True": True, "false": False, "FALSE": False}.items():
        assert override(TrainConfig(), ["init_from=x", f"init_state={text}"]).init_state is value
    for text in ("1", "yes", ""):
        with pytest.raises(ValueError, match=f"init_state is '{text}'; it must be true or false"):
            override(TrainConfig(), ["init_from=x", f"init_state={text}"])
    with pytest.raises(ValueError, match="init_state is 1; it must be true or false"):
        TrainConfig(init_from="x", init_state=1)


def test_a_hyper_parameter_of_another_network_is_refused():
    config = TrainConfig(model=ModelConfig("pan"))
    own = "n_resblocks, n_feats, n_upsampler_feats"
    with pytest.raises(ValueError, match=f"^pan has no hyper-parameter 'groups'; it has {own}$"):
        override(config, ["model.groups=2"])


def test_an_unknown_field_of_a_file_is_named():
    with pytest.raises(ValueError, match=r"no config field 'model\.colour'; model has name, scale"):
        from_dict({"model": {"colour": 3}})


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no config file .*missing\.py"):
        load_config(tmp_path / "missing.py")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"empty\.py defines no `config`"):
        load_config(tmp_path / "empty.py")


def test_differences_name_the_fields():
    other = override(TrainConfig(), ["seed=3", "model.n_feats=32"])
    assert differences(TrainConfig(), other) == {
        "seed": (0, 3),
        "model.options.n_feats": (None, 32),
    }
    assert not differences(other, other)
