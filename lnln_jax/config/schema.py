"""What an experiment consists of: frozen dataclasses, each of which checks itself."""

from dataclasses import dataclass, field
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from lnln_jax.config.optimizer import OptimizerConfig
from lnln_jax.config.values import check_counts, check_fractions, check_positive, check_types
from lnln_jax.models import create_model, least_side
from lnln_jax.models.spec import ModelConfig
from lnln_jax.runtime.durations import seconds_of

Placement = Literal["auto", "host", "device"]
Parallel = Literal["auto", "fsdp", "pmap"]


@dataclass(frozen=True)
class DataConfig:
    """Where training and validation images come from, and how batches are made of them.

    Attributes:
      train: datasets of `lnln prepare`; folders or .zip files of HR images.
      train_lr: folders or .zip files of LR images; empty: those beside HR, if any; imresize: none.
      dead_leaves: number of generated HR images to train on as well.
      dead_leaves_size: height and width of the generated images.
      weights: shares in batches of each in `train`, then of dead leaves; empty: by their images.
      validation: folder of a benchmark such as Set5, or a dataset; empty: no validation.
      validation_images: number of images, the first ones; 0: all.
      data_dir: folder in which datasets are looked for by name; empty: that of TFDS.
      degradation: way from HR to LR (data/degradations.py).
      blur_sigma: width of the blur of bd, in HR pixels.
      noise_level: standard deviation of the noise of dn, of 255.
      jpeg_quality: quality of jpeg, up to 100.
      on_bad_image: what to do with an image that cannot be used.
      lr_patch_size: side of an LR patch in pixels; an HR patch is that multiplied by the scale.
      batch_size: patches in a batch, of all devices together.
      placement: where training images are kept, and patches cut.
      num_threads: threads that cut batches on the host.
      num_workers: processes that cut batches on the host, in place of threads.
      cache_share: share of free memory for decoded images of datasets on the host.

    Raises:
      ValueError: a field of another type or out of its range, or two that contradict each other.
    """

    train: tuple[str, ...] = ()
    train_lr: tuple[str, ...] = ()
    dead_leaves: int = 0
    dead_leaves_size: int = 256
    weights: tuple[float, ...] = ()
    validation: str = ""
    validation_images: int = 0
    data_dir: str = ""
    degradation: Literal["bicubic", "bd", "dn", "jpeg"] = "bicubic"
    blur_sigma: float = 1.6
    noise_level: float = 30.0
    jpeg_quality: int = 40
    on_bad_image: Literal["stop", "skip"] = "stop"
    lr_patch_size: int = 48
    batch_size: int = 16
    placement: Placement = "auto"
    num_threads: int = 4
    num_workers: int = 0
    cache_share: float = 0.5

    def __post_init__(self) -> None:
        """Checks what can be known before any data is read."""
        check_types("data.", self)
        check_positive("data.", self, "lr_patch_size", "batch_size", "dead_leaves_size")
        check_counts(
            "data.", self, "num_threads", "num_workers", "dead_leaves", "validation_images"
        )
        self._check_degradation()
        if not 0 <= self.cache_share <= 1:
            raise ValueError(
                f"data.cache_share is {self.cache_share}; it must be from 0, which keeps nothing, "
                "to 1"
            )
        if self.train_lr and self.degradation != "bicubic":
            raise ValueError(
                f"data.degradation is {self.degradation}, but data.train_lr gives LR images; "
                "leave one of them out"
            )
        if not all(weight > 0 for weight in self.weights):
            raise ValueError(
                f"data.weights is {self.weights}; each must be larger than 0 (leave a source out "
                "of data.train instead)"
            )
        parts = len(self.train) + bool(self.dead_leaves)
        if self.weights and len(self.weights) != parts:
            raise ValueError(
                f"data.weights has {len(self.weights)} numbers for {parts} sources; give one "
                "for each in data.train, and then one for dead leaves if there are any"
            )
        if self.train_lr and len(self.train_lr) != len(self.train):
            raise ValueError(
                f"data.train_lr has {len(self.train_lr)} folders and data.train "
                f"{len(self.train)}; give one LR folder for each HR folder, or none"
            )

    def _check_degradation(self) -> None:
        from lnln_jax.data.degradations import Degradation  # which imports all of `data`

        try:
            Degradation(self.degradation, self.blur_sigma, self.noise_level, self.jpeg_quality)
        except ValueError as error:
            raise ValueError(f"data.{error}") from error


@dataclass(frozen=True)
class TrainConfig:
    """One experiment.

    Attributes:
      model: network.
      data: images and batches.
      optimizer: optimizer and its schedule.
      loss: mean absolute (l1) or squared (l2) error.
      steps: optimizer steps of the run.
      schedule_steps: steps that the optimizer's numbers are meant for; 0: as many as `steps`.
      time_budget: time such as 45m, from the process's start, which sets `steps`; empty: none.
      steps_per_call: steps in one call of the device, at most, where images are on it.
      parallel: how several devices train together (training/parallel.py).
      devices: number of this machine's that train; 0: all, of all processes.
      batch_norm: statistics of the whole batch, or of each device's part.
      accumulate: parts of the batch that each device goes through one after the other.
      seed: seed of the initial weights and of the order of the data.
      dtype: type of the computation; parameters are float32.
      ema_decay: decay of the averaged weights that are evaluated; 0: no averaging.
      init_from: run, file or trained network to start from; of another scale, all but its tail is
        taken; a shallower LNLN or DRCA grows.
      init_state: whether to go on from the step of init_from, with all of its state.
      log_every: steps from one line of the log to the next.
      checkpoint_every: steps from one checkpoint to the next.
      keep_checkpoints: latest checkpoints that are kept; the best is kept besides.
      validate_every: steps from one validation to the next.
      sample_every: steps from one picture of a validation image to the next; 0: none.
      spike_factor: multiple of the losses' median from which a loss is told of; 0: none is.

    Raises:
      ValueError: a field of another type or out of its range, or two that contradict each other.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: Literal["l1", "l2"] = "l1"
    steps: int = 1_000_000
    schedule_steps: int = 0
    time_budget: str = ""
    steps_per_call: int = 100
    parallel: Parallel = "auto"
    devices: int = 0
    batch_norm: Literal["global", "local"] = "global"
    accumulate: int = 1
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    ema_decay: float = 0.0
    init_from: str = ""
    init_state: bool = False
    log_every: int = 100
    checkpoint_every: int = 1000
    keep_checkpoints: int = 3
    validate_every: int = 1000
    sample_every: int = 10_000
    spike_factor: float = 10.0

    def __post_init__(self) -> None:
        """Checks the fields that are no part's own, and whether the parts fit each other."""
        check_types("", self)
        check_types("model.", self.model)
        module = create_model(self.model.name, self.model.scale, **self.model.options)
        if (least := least_side(module)) > self.data.lr_patch_size:
            raise ValueError(
                f"data.lr_patch_size is {self.data.lr_patch_size}, but {self.model.name} takes no "
                f"image below {least}x{least}; it must be at least {least}"
            )
        every = ("log_every", "checkpoint_every", "validate_every")
        check_positive(
            "", self, "steps", "steps_per_call", "accumulate", "keep_checkpoints", *every
        )
        check_counts("", self, "devices", "schedule_steps", "sample_every")
        check_counts("", self, "seed", bits=32)
        check_fractions("", self, "ema_decay")
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
        self._check_parts()

    def _check_parts(self) -> None:
        """Raises ValueError for fields of different parts that contradict each other."""
        length = "schedule_steps" if self.schedule_steps else "steps"
        cosines = self.optimizer.cosine_steps * self.optimizer.cosine_cycles
        if 0 < cosines < getattr(self, length) and not self.optimizer.cosine_floor:
            raise ValueError(
                f"optimizer.cosine_steps is {self.optimizer.cosine_steps}, after which the "
                f"learning rate is 0, and {length} is {getattr(self, length)}; they should be equal"
            )
        if self.parallel == "pmap" and self.data.placement == "device":
            raise ValueError(
                "data.placement is device, which parallel=pmap does not know; set "
                "data.placement=host, or parallel=auto"
            )
        least = self.data.lr_patch_size * self.model.scale
        if self.data.dead_leaves and self.data.dead_leaves_size < least:
            raise ValueError(
                f"data.dead_leaves_size is {self.data.dead_leaves_size}, less than an HR patch; it "
                f"must be at least {least}"
            )

    @property
    def stretch(self) -> float:
        """Positions on the learning-rate schedule for each step."""
        return (self.schedule_steps or self.steps) / self.steps


def build_module(config: TrainConfig) -> nn.Module:
    """Returns the network of an experiment."""
    model, dtype = config.model, jnp.dtype(config.dtype)
    return create_model(model.name, model.scale, dtype=dtype, **model.options)
