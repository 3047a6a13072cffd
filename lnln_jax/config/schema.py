"""What an experiment consists of: typed frozen dataclasses, and how to load and override them.

A file in `configs/` is Python that defines `config = TrainConfig(...)`. On the command line any
field is overridden by its dotted name: `optimizer.learning_rate=2e-4`, `model.n_feats=32`.
"""

import dataclasses
import runpy
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from lnln_jax.config.values import check_types, parse
from lnln_jax.models import MODELS, create_model, model_options
from lnln_jax.models.spec import ModelConfig
from lnln_jax.runtime.durations import seconds_of

Placement = Literal["auto", "host", "device"]
Parallel = Literal["auto", "fsdp", "pmap"]


@dataclass(frozen=True)
class DataConfig:
    """Where training and validation images come from, and how batches are made of them."""

    train: tuple[str, ...] = ()  # data sets of `lnln prepare`; folders or .zip files of HR images
    train_lr: tuple[str, ...] = ()  # folders or .zip files of LR images; empty: made from HR
    dead_leaves: int = 0  # how many generated HR images to train on as well
    dead_leaves_size: int = 256  # their height and width
    weights: tuple[float, ...] = ()  # of each in `train`, then of dead leaves; empty: by images
    validation: str = ""  # folder of a benchmark such as Set5, or a data set; empty: none
    validation_images: int = 0  # only the first so many; 0: all
    data_dir: str = ""  # where data sets are looked for by name; empty: TFDS's own place
    degradation: Literal["bicubic", "bd", "dn", "jpeg"] = "bicubic"  # see data.degradations
    blur_sigma: float = 1.6
    noise_level: float = 30.0
    jpeg_quality: int = 40
    on_bad_image: Literal["stop", "skip"] = "stop"
    lr_patch_size: int = 48  # the HR patch is that times the scale
    batch_size: int = 16
    placement: Placement = "auto"  # of training images
    num_threads: int = 4  # that cut batches on the host
    num_workers: int = 0  # processes that cut batches on the host, in place of threads
    cache_share: float = 0.5  # of free memory, for decoded images of data sets on the host


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, LAMB, or SGD with momentum, and how the learning rate rises and falls."""

    name: Literal["adam", "lamb", "sgd"] = "adam"
    learning_rate: float = 1e-4  # the highest
    warmup_steps: int = 0  # in which the rate rises linearly to it
    cosine_steps: int = 0  # in which the rate falls to 0 along a cosine; 0: it falls in stairs
    b1: float = 0.9  # of Adam and LAMB, as b2 and eps
    b2: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.9  # of SGD, as the weight decay
    weight_decay: float = 0.0
    decay_factor: float = 0.5  # of the stairs: what the rate is multiplied with
    decay_every_epochs: int = 200
    steps_per_epoch: int = 1000
    clip_norm: float = 0.0  # global norm to which gradients are clipped; 0: they are not
    skip_nonfinite: int = 0  # steps in a row that may be skipped for NaN or infinite gradients


@dataclass(frozen=True)
class TrainConfig:
    """One experiment."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: Literal["l1", "l2"] = "l1"  # see state.training_loss
    steps: int = 1_000_000
    schedule_steps: int = 0  # that the optimizer's numbers are meant for; 0: as many as steps
    time_budget: str = ""  # such as 45m, from the process's start: sets steps; see training.budget
    steps_per_call: int = 100  # at most, where images are on the device
    parallel: Parallel = "auto"  # how several devices train together; see training.parallel
    devices: int = 0  # how many of this machine's train; 0: all, of all processes
    batch_norm: Literal["global", "local"] = "global"  # statistics of the batch, or of a device's
    accumulate: int = 1  # parts of the batch that each device goes through one after the other
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation; parameters: float32
    ema_decay: float = 0.0  # of the averaged weights that are evaluated; 0: no averaging
    init_from: str = ""  # of another scale: all but its tail; a shallower LNLN or DRCA grows
    init_state: bool = False  # go on from the step of init_from with all of its state
    log_every: int = 100
    checkpoint_every: int = 1000
    keep_checkpoints: int = 3  # the latest ones; the best is kept besides
    validate_every: int = 1000
    sample_every: int = 10_000  # a picture of a validation image; 0: none
    spike_factor: float = 10.0  # a loss so many times the median of those before is told; 0: none

    def __post_init__(self) -> None:
        """Checks what can be known before any data is read.

        Raises:
          ValueError: a field of another type or out of its range.
        """
        for prefix, part in (
            ("", self),
            ("model.", self.model),
            ("data.", self.data),
            ("optimizer.", self.optimizer),
        ):
            check_types(prefix, part)
        create_model(self.model.name, self.model.scale, **self.model.options)
        positive = {
            "steps": self.steps,
            "log_every": self.log_every,
            "checkpoint_every": self.checkpoint_every,
            "keep_checkpoints": self.keep_checkpoints,
            "steps_per_call": self.steps_per_call,
            "accumulate": self.accumulate,
            "validate_every": self.validate_every,
            "data.lr_patch_size": self.data.lr_patch_size,
            "data.batch_size": self.data.batch_size,
            "optimizer.learning_rate": self.optimizer.learning_rate,
            "optimizer.decay_every_epochs": self.optimizer.decay_every_epochs,
            "optimizer.decay_factor": self.optimizer.decay_factor,
            "optimizer.steps_per_epoch": self.optimizer.steps_per_epoch,
        }
        for key, value in positive.items():
            if value <= 0:
                raise ValueError(f"{key} is {value}; it must be larger than 0")
        whole = {
            "data.num_threads": self.data.num_threads,
            "data.num_workers": self.data.num_workers,
            "data.dead_leaves": self.data.dead_leaves,
            "data.validation_images": self.data.validation_images,
            "optimizer.warmup_steps": self.optimizer.warmup_steps,
            "optimizer.cosine_steps": self.optimizer.cosine_steps,
            "optimizer.skip_nonfinite": self.optimizer.skip_nonfinite,
            "devices": self.devices,
            "schedule_steps": self.schedule_steps,
            "seed": self.seed,
        }
        for key, value in whole.items():
            if not 0 <= value < 2**32:
                raise ValueError(f"{key} is {value}; it must be from 0 to 2**32 - 1")
        if not 0 <= self.data.cache_share <= 1:
            raise ValueError(
                f"data.cache_share is {self.data.cache_share}; it must be from 0, which keeps "
                "nothing, to 1"
            )
        for key in ("b1", "b2", "momentum", "weight_decay"):
            if not 0 <= (value := getattr(self.optimizer, key)) < 1:
                raise ValueError(f"optimizer.{key} is {value}; it must be at least 0 and below 1")
        length = "schedule_steps" if self.schedule_steps else "steps"
        if 0 < self.optimizer.cosine_steps < getattr(self, length):
            raise ValueError(
                f"optimizer.cosine_steps is {self.optimizer.cosine_steps}, after which the "
                f"learning rate is 0, and {length} is {getattr(self, length)}; they should be equal"
            )
        if self.time_budget:
            seconds_of("time_budget", self.time_budget)
        if self.init_state and not self.init_from:
            raise ValueError(
                "init_state is true, but init_from is empty; set init_from to a run's folder or to "
                "a file of lnln convert --state"
            )
        if self.spike_factor and not self.spike_factor > 1:
            raise ValueError(
                f"spike_factor is {self.spike_factor}; it must be larger than 1, or 0 for none"
            )
        if self.parallel == "pmap" and self.data.placement == "device":
            raise ValueError(
                "data.placement is device, which parallel=pmap does not know; set "
                "data.placement=host, or parallel=auto"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be at least 0 and below 1")
        if self.optimizer.weight_decay and self.optimizer.name != "sgd":
            raise ValueError(
                f"optimizer.weight_decay is {self.optimizer.weight_decay}, which "
                f"{self.optimizer.name} does not know; leave it at 0 or set optimizer.name=sgd"
            )
        if self.optimizer.clip_norm < 0:
            raise ValueError(f"optimizer.clip_norm is {self.optimizer.clip_norm}; 0 turns it off")
        if self.data.train_lr and self.data.degradation != "bicubic":
            raise ValueError(
                f"data.degradation is {self.data.degradation}, but data.train_lr gives LR images; "
                "leave one of them out"
            )
        parts = len(self.data.train) + bool(self.data.dead_leaves)
        if self.data.weights and len(self.data.weights) != parts:
            raise ValueError(
                f"data.weights has {len(self.data.weights)} numbers for {parts} sources; give one "
                "for each in data.train, and then one for dead leaves if there are any"
            )
        least = self.data.lr_patch_size * self.model.scale
        if self.data.dead_leaves and self.data.dead_leaves_size < least:
            raise ValueError(
                f"data.dead_leaves_size is {self.data.dead_leaves_size}, less than an HR patch; it "
                f"must be at least {least}"
            )
        if self.data.train_lr and len(self.data.train_lr) != len(self.data.train):
            raise ValueError(
                f"data.train_lr has {len(self.data.train_lr)} folders and data.train "
                f"{len(self.data.train)}; give one LR folder for each HR folder, or none"
            )

    @property
    def stretch(self) -> float:
        """Positions on the learning-rate schedule for each step."""
        return (self.schedule_steps or self.steps) / self.steps


def build_module(config: TrainConfig) -> nn.Module:
    """The network of an experiment."""
    model, dtype = config.model, jnp.dtype(config.dtype)
    return create_model(model.name, model.scale, dtype=dtype, **model.options)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Runs a config file and applies `key=value` overrides to its `config`.

    Raises:
      ValueError: no such file, no `config` in it, or an override with a wrong key or type.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no config file {path}; the repository has some in configs/")
    config = runpy.run_path(str(path)).get("config")
    if not isinstance(config, TrainConfig):
        raise ValueError(f"{path} defines no `config`; it must say config = TrainConfig(...)")
    return override(config, overrides)


def override(config: TrainConfig, overrides: Iterable[str]) -> TrainConfig:
    """Applies overrides such as `data.batch_size=32`.

    Raises:
      ValueError: an unknown key or a value of another type; the message says what exists.
    """
    tree = to_dict(config)
    for item in overrides:
        key, separator, text = item.lstrip("-").partition("=")
        if not separator:
            raise ValueError(f"override {item!r} has no '='; write it as data.batch_size=32")
        _set(tree, key, text)
    return from_dict(tree)


def _set(tree: dict[str, Any], key: str, text: str) -> None:
    """Sets the leaf of dotted name `key` to the value that `text` spells."""
    *parents, leaf = key.split(".")
    cls: type = TrainConfig
    for i, name in enumerate(parents):
        hint = typing.get_type_hints(cls).get(name)
        if not dataclasses.is_dataclass(hint):
            raise _unknown(key, ".".join(parents[:i]), cls)
        cls, tree = typing.cast(type, hint), tree[name]
    hints = typing.get_type_hints(cls)
    if leaf in hints and not dataclasses.is_dataclass(hints[leaf]) and leaf != "options":
        tree[leaf] = parse(key, text, hints[leaf])
    elif cls is ModelConfig and leaf in (numbers := _numbers(tree["name"])):
        tree["options"][leaf] = parse(key, text, numbers[leaf])
    else:
        raise _unknown(key, ".".join(parents), cls)


def _numbers(model: str) -> dict[str, type]:
    """The hyper-parameters of a network that are numbers: all but its dtype, a field of its own."""
    return {name: hint for name, hint in model_options(model).items() if hint in (int, float)}


def _unknown(key: str, parent: str, cls: type) -> ValueError:
    names = [f.name for f in dataclasses.fields(cls) if f.name != "options"]
    if cls is ModelConfig:
        names += sorted({name for model in MODELS for name in _numbers(model)})
    where = f"{parent} has" if parent else "the config has"
    return ValueError(f"there is no config field {key!r}; {where} {', '.join(names)}")


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The config as nested dictionaries that JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(tree: Mapping[str, Any]) -> TrainConfig:
    """The inverse of `to_dict`, also after a way through JSON.

    Raises:
      ValueError: a field that this version does not know.
    """
    return _build(TrainConfig, tree)


def _build(cls: Any, tree: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        if key not in hints:
            raise _unknown(key, "", cls)
        if dataclasses.is_dataclass(hints[key]):
            value = _build(hints[key], value)
        elif typing.get_origin(hints[key]) is tuple:
            value = tuple(value)
        elif key == "options":
            value = dict(value)
        values[key] = value
    return cls(**values)


def differences(old: TrainConfig, new: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The dotted names of the fields that differ, with both values."""

    def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in tree.items():
            nested = isinstance(value, Mapping)
            out |= flat(value, f"{prefix}{key}.") if nested else {prefix + key: value}
        return out

    a, b = flat(to_dict(old)), flat(to_dict(new))
    keys = sorted(a.keys() | b.keys())
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}
