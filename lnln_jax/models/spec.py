"""Which network, in three values that a file or a command line can hold."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lnln_jax.models.registry import model_options, resolve
from lnln_jax.runtime.numbers import plain


@dataclass(frozen=True)
class ModelConfig:
    """A network by name.

    Attributes:
      name: name of a network, or of a published form of one (`models.registry`).
      scale: HR size / LR size: 2, 3 or 4; 8 too for some networks.
      options: hyper-parameters where they differ from the published ones.

    Raises:
      ValueError: an unknown name.
    """

    name: str = "lnln"
    scale: int = 2
    options: dict[str, int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Spells out the name of a variant, such as edsr_baseline, and makes numbers Python's."""
        name, options = resolve(self.name, self.options)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "scale", plain(self.scale))
        object.__setattr__(self, "options", {key: plain(value) for key, value in options.items()})


def number_types(name: str) -> dict[str, type]:
    """Returns the types, int or float, of the numbers that shape a network, by their names."""
    return {key: hint for key, hint in model_options(name).items() if hint in (int, float)}


def hyper_parameters(module: Any) -> dict[str, int | float]:
    """Returns the numbers that make a Flax module the network that it is, without its scale."""
    values = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key != "scale"
    }
