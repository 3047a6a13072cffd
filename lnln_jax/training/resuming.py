"""Whether a training run may go on with settings other than those that it was started with."""

from dataclasses import replace
from pathlib import Path

from lnln_jax.config import TrainConfig, differences
from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.files import printable

# What a resumed run may change, since no step depends on it.
FREE_FIELDS = frozenset(
    {
        "steps",
        "schedule_steps",
        "time_budget",
        "log_every",
        "checkpoint_every",
        "keep_checkpoints",
        "validate_every",
        "sample_every",
        "spike_factor",
        "steps_per_call",
        "data.num_threads",
        "data.num_workers",
        "data.cache_share",
        "data.data_dir",
    }
)
# What changes a step in rounding alone.
ROUNDING_FIELDS = frozenset({"parallel", "devices", "data.placement"})
# Where images lie changes no step; checkpoints tell whether they are the same.
IMAGE_FIELDS = frozenset({"data.train", "data.train_lr"})
LENGTH_FIELDS = frozenset({"steps", "schedule_steps"})


def with_length_of(saved: TrainConfig, config: TrainConfig) -> TrainConfig:
    """Returns a configuration with the numbers of steps that a run's time budget has come to."""
    if not (saved.time_budget and config.time_budget):
        return config
    return replace(config, steps=saved.steps, schedule_steps=saved.schedule_steps)


def check_changes(saved: TrainConfig, config: TrainConfig, folder: Path, *, allow: bool) -> bool:
    """Says what has changed since a run's newest checkpoint; refuses what makes it another run.

    Args:
      saved: configuration of the checkpoint.
      config: configuration to go on with.
      folder: folder of the run.
      allow: whether everything may pass (`--allow-config-change`).

    Returns:
      Whether it is another run from here on.

    Raises:
      ValueError: results would differ, and `allow` is False.
    """
    changed = differences(saved, config)
    free, rounding = FREE_FIELDS, ROUNDING_FIELDS
    if saved.stretch != config.stretch:  # learning rates are those of other positions
        free -= LENGTH_FIELDS
    if config.batch_norm == "local" or config.accumulate > 1:
        rounding -= {"devices"}  # statistics are those of other parts of the batch
    listing = {key: f"{key} was {old} and is {new}" for key, (old, new) in changed.items()}
    passing = free | rounding | IMAGE_FIELDS
    other = [text for key, text in listing.items() if key not in passing]
    if other and not allow:
        raise ValueError(
            f"{printable(folder)} holds a run with another configuration: {'; '.join(other)}. "
            "Train in another folder, give the settings that it was started with, or go on as "
            "another run from here (--allow-config-change)"
        )
    for key, text in listing.items():
        if key in free:
            text += ", which changes no step"
        elif key in IMAGE_FIELDS:
            text += ", where the same images must be"
        elif key in rounding:
            text += ", which changes steps in rounding alone"
        else:
            text = f"warning: {text}; the run is another one from here on"
        say(text)
    return bool(other)
