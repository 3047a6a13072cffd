"""Optimizers and learning-rate schedules."""

import optax

from lnln_jax.config import OptimizerConfig


def halving_schedule(config: OptimizerConfig) -> optax.Schedule:
    """The learning rate by step: a staircase.

    It is halved (or multiplied with another `decay_factor`) every
    `decay_every_epochs * steps_per_epoch` steps.
    """
    return optax.exponential_decay(
        config.learning_rate,
        transition_steps=config.decay_every_epochs * config.steps_per_epoch,
        decay_rate=config.decay_factor,
        staircase=True,
    )


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam or SGD on the halving schedule, after clipping to `clip_norm` where that is not 0.

    SGD is PyTorch's: the weight decay is added to the clipped gradient, before the momentum. Where
    `skip_nonfinite` is not 0, steps whose gradients are not finite are rejected and counted.
    """
    rate = halving_schedule(config)
    if config.name == "adam":
        steps = [optax.adam(rate, b1=config.b1, b2=config.b2, eps=config.eps)]
    else:
        steps = [optax.sgd(rate, momentum=config.momentum)]
        if config.weight_decay:
            steps.insert(0, optax.add_decayed_weights(config.weight_decay))
    if config.clip_norm:
        steps.insert(0, optax.clip_by_global_norm(config.clip_norm))
    optimizer = optax.chain(*steps)
    if config.skip_nonfinite:
        return optax.apply_if_finite(optimizer, config.skip_nonfinite)
    return optimizer
