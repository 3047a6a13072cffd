"""The configs that the package ships, and what their docstrings say to do with them."""

import json
import shlex
from pathlib import Path

import pytest

from lnln_jax.config import (
    OptimizerConfig,
    TrainConfig,
    build_module,
    differences,
    from_dict,
    load_config,
    to_dict,
)
from lnln_jax.config.shipped import FOLDER, config_names, description, find_config

# Where the recipes for x3 and x4 differ from the default configuration.
OF_ALL = {"data.train": ("div2k_sub",), "data.validation": "data/Set5"}
OF_DRCA = OF_ALL | {"model.name": "drca", "optimizer.b2": 0.999}
OF_RCAN = OF_ALL | {"model.name": "rcan", "optimizer.b2": 0.999}
OF_EDSR = OF_ALL | {"model.name": "edsr", "optimizer.b2": 0.999, "steps": 300_000}
OF_EDSR_BASELINE = OF_EDSR | {
    "model.options.n_feats": 64,
    "model.options.n_resblocks": 16,
    "model.options.res_scale": 1.0,
}
OF_SAN = OF_ALL | {
    "model.name": "san",
    "optimizer.decay_every_epochs": 50,
    "optimizer.decay_factor": 0.6,
}
OF_SWINIR_LIGHT = OF_ALL | {
    "data.batch_size": 64,
    "data.lr_patch_size": 64,
    "ema_decay": 0.999,
    "model.name": "swinir_light",
    "optimizer.b2": 0.999,
    "optimizer.decay_at_epochs": (250, 400, 450, 475),
    "schedule_steps": 500_000,
    "steps": 250_000,
}
OF_VDSR = {
    "data.batch_size": 64,
    "data.train": ("data/T91", "data/BSD200"),
    "data.validation": "data/Set5",
    "loss": "l2",
    "model.name": "vdsr",
    "optimizer.clip_norm": 0.4,
    "optimizer.decay_every_epochs": 20,
    "optimizer.decay_factor": 0.1,
    "optimizer.learning_rate": 0.1,
    "optimizer.name": "sgd",
    "optimizer.weight_decay": 0.0001,
    "steps": 80_000,
}
OF_RLFN = OF_ALL | {
    "data.batch_size": 64,
    "model.name": "rlfn",
    "optimizer.b2": 0.999,
    "optimizer.learning_rate": 5e-4,
}
OF_IMDN = OF_ALL | {
    "model.name": "imdn",
    "optimizer.b2": 0.999,
    "optimizer.learning_rate": 2e-4,
}
OF_RDN = OF_ALL | {"data.lr_patch_size": 32, "model.name": "rdn", "optimizer.b2": 0.999}
OF_MSRN = OF_ALL | {"model.name": "msrn", "optimizer.b2": 0.999}
OF_WDSR = OF_ALL | {"optimizer.b2": 0.999, "optimizer.learning_rate": 1e-3, "steps": 300_000}
OF_WDSR_RELOADED = OF_ALL | {
    "model.name": "wdsr_reloaded",
    "optimizer.b2": 0.999,
    "optimizer.decay_at_epochs": (20, 25),
    "optimizer.decay_factor": 0.2,
    "optimizer.learning_rate": 1e-3,
    "optimizer.steps_per_epoch": 50_000,
    "steps": 1_500_000,
}
OF_CARN = OF_ALL | {
    "data.batch_size": 64,
    "data.lr_patch_size": 64,
    "optimizer.b2": 0.999,
    "optimizer.clip_norm": 10.0,
    "optimizer.decay_every_epochs": 400,
    "steps": 600_000,
}
OF_PAN = {
    "data.batch_size": 32,
    "data.lr_patch_size": 64,
    "data.train": ("div2k_sub", "flickr2k"),
    "data.validation": "data/Set5",
    "model.name": "pan",
    "optimizer.cosine_cycles": 4,
    "optimizer.cosine_floor": 1e-7,
    "optimizer.cosine_steps": 250_000,
    "optimizer.learning_rate": 7e-4,
}
PUBLISHED = {
    "lnln_x3": OF_ALL | {"model.scale": 3},
    "lnln_x4": OF_ALL | {"model.scale": 4, "init_from": "runs/lnln_x2"},
    "drca_x3": OF_DRCA | {"model.scale": 3},
    "drca_x4": OF_DRCA | {"model.scale": 4, "init_from": "runs/drca_x2"},
    "rcan_x3": OF_RCAN | {"model.scale": 3, "init_from": "runs/rcan_x2"},
    "rcan_x4": OF_RCAN | {"model.scale": 4, "init_from": "runs/rcan_x2"},
    "edsr_x3": OF_EDSR | {"model.scale": 3, "init_from": "runs/edsr_x2"},
    "edsr_x4": OF_EDSR | {"model.scale": 4, "init_from": "runs/edsr_x2"},
    "edsr_baseline_x3": OF_EDSR_BASELINE | {"model.scale": 3, "init_from": "runs/edsr_baseline_x2"},
    "edsr_baseline_x4": OF_EDSR_BASELINE | {"model.scale": 4, "init_from": "runs/edsr_baseline_x2"},
    "san_x3": OF_SAN | {"model.scale": 3, "init_from": "runs/san_x2"},
    "san_x4": OF_SAN | {"model.scale": 4, "init_from": "runs/san_x2"},
    **{
        f"swinir_light_x{scale}": OF_SWINIR_LIGHT
        | {"model.scale": scale, "init_from": "runs/swinir_light_x2"}
        for scale in (3, 4)
    },
    **{
        f"{name}_x{scale}": OF_CARN | {"model.name": name, "model.scale": scale}
        for name in ("carn", "carn_m")
        for scale in (3, 4)
    },
    "pan_x3": OF_PAN | {"model.scale": 3},
    "pan_x4": OF_PAN | {"model.scale": 4},
    "vdsr_x3": OF_VDSR | {"model.scale": 3, "data.lr_patch_size": 14},
    "vdsr_x4": OF_VDSR | {"model.scale": 4, "data.lr_patch_size": 10},
    "rlfn_x2": OF_RLFN | {"data.lr_patch_size": 128, "init_from": "runs/rlfn_x2_stage_2"},
    "rlfn_x3_stage_1": OF_RLFN | {"data.lr_patch_size": 85, "model.scale": 3},
    "rlfn_x4_stage_1": OF_RLFN | {"data.lr_patch_size": 64, "model.scale": 4},
    "rlfn_s_x2_stage_1": OF_RLFN
    | {
        "data.lr_patch_size": 128,
        "model.options.n_feats": 48,
        "model.options.n_mid_feats": 48,
    },
    "imdn_x3": OF_IMDN | {"data.lr_patch_size": 64, "model.scale": 3},
    "imdn_x4": OF_IMDN | {"model.scale": 4},
    "rdn_x3": OF_RDN | {"model.scale": 3, "init_from": "runs/rdn_x2"},
    "rdn_x4": OF_RDN | {"model.scale": 4, "init_from": "runs/rdn_x2"},
    "msrn_x3": OF_MSRN | {"model.scale": 3},
    "msrn_x4": OF_MSRN | {"model.scale": 4},
    "wdsr_a_x3": OF_WDSR | {"model.name": "wdsr_a", "model.scale": 3},
    "wdsr_a_x4": OF_WDSR | {"model.name": "wdsr_a", "model.scale": 4},
    "wdsr_b_x3": OF_WDSR | {"model.name": "wdsr_b", "model.scale": 3},
    "wdsr_b_x4": OF_WDSR | {"model.name": "wdsr_b", "model.scale": 4},
    "wdsr_reloaded_x3": OF_WDSR_RELOADED | {"model.scale": 3},
    "wdsr_reloaded_x4": OF_WDSR_RELOADED | {"model.scale": 4},
}


def commands(name: str) -> dict[str, TrainConfig]:
    """The runs that a config's docstring shows how to train, by name, with what they train."""
    runs = {}
    for line in description(FOLDER / f"{name}.py").replace("\\\n", "").splitlines():
        if line.startswith("    lnln train "):
            _, _, config, *rest = shlex.split(line)
            output = rest.index("--output") if "--output" in rest else len(rest)
            overrides, folder = rest[:output], (*rest[output + 1 :], f"runs/{config}")[0]
            runs[Path(folder).name] = load_config(config, overrides)
    return runs


COMMANDS = {run: config for name in config_names() for run, config in commands(name).items()}


@pytest.mark.parametrize("name", config_names())
def test_every_config_loads_and_survives_json(name):
    config = load_config(name)
    assert name.endswith(f"x{config.model.scale}") or name == "quickstart"
    assert config.model.name in name or name == "quickstart"
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert build_module(config).scale == config.model.scale


@pytest.mark.parametrize("name", config_names())
def test_its_docstring_says_how_to_train_it(name):
    assert name in commands(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_for_other_scales(name):
    found = differences(TrainConfig(), COMMANDS[name])
    assert {key: value for key, (_, value) in found.items()} == PUBLISHED[name]


def test_the_published_recipe():
    config = load_config("lnln_x2")
    assert config.optimizer == OptimizerConfig(
        learning_rate=1e-4, b1=0.9, b2=0.99, eps=1e-8, decay_every_epochs=200, steps_per_epoch=1000
    )
    assert (config.data.lr_patch_size, config.data.batch_size) == (48, 16)
    assert not config.model.options


def test_a_name_a_path_and_neither(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vdsr_x2").mkdir()  # no folder of that name is taken in its place
    assert find_config("vdsr_x2") == FOLDER / "vdsr_x2.py"
    own = tmp_path / "lnln_x2"
    own.write_text("from lnln_jax.config import TrainConfig\n\nconfig = TrainConfig(seed=7)\n")
    assert load_config("lnln_x2").seed == 7  # but a file is
    assert load_config(own) == TrainConfig(seed=7)
    with pytest.raises(ValueError, match=r"no config file lnln_x7; .*: carn_m_x2, carn_x2, drca"):
        find_config("lnln_x7")
