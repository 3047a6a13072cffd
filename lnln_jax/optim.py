"""Optimizers and learning-rate schedules."""

import optax

from lnln_jax.config import OptimizerConfig


def halving_schedule(config: OptimizerConfig) -> optax.Schedule:
    """The learning rate by step: halved every `halve_every_epochs * steps_per_epoch` steps."""
    return optax.exponential_decay(
        config.learning_rate,
        transition_steps=config.halve_every_epochs * config.steps_per_epoch,
        decay_rate=0.5,
        staircase=True,
    )


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam on the halving schedule, after clipping to `clip_norm` where that is not 0."""
    adam = optax.adam(halving_schedule(config), b1=config.b1, b2=config.b2, eps=config.eps)
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
    return adam
