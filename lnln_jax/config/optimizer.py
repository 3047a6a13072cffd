"""The optimizer of an experiment."""

from dataclasses import dataclass
from typing import Literal

from lnln_jax.config.values import check_counts, check_fractions, check_positive, check_types


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, LAMB, or SGD with momentum, and how the learning rate rises and falls.

    Attributes:
      name: rule of the updates.
      learning_rate: highest rate.
      warmup_steps: steps in which the rate rises linearly to the highest.
      cosine_steps: steps in which the rate falls along a cosine; 0: it falls in stairs.
      cosine_cycles: cosines one after the other, each of which begins at the highest rate.
      cosine_floor: rate at the end of each cosine.
      b1: decay of the first moment, of Adam and LAMB.
      b2: decay of the second moment, of Adam and LAMB.
      eps: number added to the denominator, of Adam and LAMB.
      momentum: momentum of SGD.
      weight_decay: weight decay of SGD.
      decay_factor: number by which the rate is multiplied at each stair.
      decay_every_epochs: epochs from one stair to the next.
      decay_at_epochs: epochs at which there is a stair, in place of every so many.
      steps_per_epoch: steps in an epoch.
      clip_norm: global norm to which gradients are clipped; 0: they are not.
      skip_nonfinite: steps in a row that may be skipped for NaN or infinite gradients.

    Raises:
      ValueError: a field of another type or out of its range.
    """

    name: Literal["adam", "lamb", "sgd"] = "adam"
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    cosine_steps: int = 0
    cosine_cycles: int = 1
    cosine_floor: float = 0.0
    b1: float = 0.9
    b2: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_factor: float = 0.5
    decay_every_epochs: int = 200
    decay_at_epochs: tuple[int, ...] = ()
    steps_per_epoch: int = 1000
    clip_norm: float = 0.0
    skip_nonfinite: int = 0

    def __post_init__(self) -> None:
        """Checks the fields."""
        check_types("optimizer.", self)
        stairs = ("decay_every_epochs", "decay_factor", "steps_per_epoch")
        check_positive("optimizer.", self, "learning_rate", "eps", "cosine_cycles", *stairs)
        check_counts("optimizer.", self, "warmup_steps", "cosine_steps", "skip_nonfinite")
        check_fractions("optimizer.", self, "b1", "b2", "momentum", "weight_decay")
        at = self.decay_at_epochs
        if list(at) != sorted({epoch for epoch in at if epoch > 0}):
            raise ValueError(
                f"optimizer.decay_at_epochs is {at}; it must be whole numbers above 0 that rise"
            )
        if not 0 <= self.cosine_floor < self.learning_rate:
            raise ValueError(
                f"optimizer.cosine_floor is {self.cosine_floor}; it must be from 0 to below the "
                f"learning rate, {self.learning_rate}"
            )
        if self.weight_decay and self.name != "sgd":
            raise ValueError(
                f"optimizer.weight_decay is {self.weight_decay}, which {self.name} does not know; "
                "leave it at 0 or set optimizer.name=sgd"
            )
        if self.clip_norm < 0:
            raise ValueError(
                f"optimizer.clip_norm is {self.clip_norm}; it must be larger than 0, or 0 for none"
            )
