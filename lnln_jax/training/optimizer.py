"""Optimizers and learning-rate schedules."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lnln_jax.config import OptimizerConfig


def make_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Returns the learning rate by position, which is the step where nothing is stretched.

    Either a staircase, halved (or multiplied by another `decay_factor`) every
    `decay_every_epochs` or at each of `decay_at_epochs`, or, where `cosine_steps` is not 0, half a
    cosine down to `cosine_floor` at that step, `cosine_cycles` times (SGDR, Loshchilov and Hutter,
    2017). In the first `warmup_steps` it is multiplied by a factor that rises linearly to 1.
    """
    if config.cosine_steps:
        falling = _cosines(config)
    elif config.decay_at_epochs:
        stairs = {n * config.steps_per_epoch: config.decay_factor for n in config.decay_at_epochs}
        falling = optax.piecewise_constant_schedule(config.learning_rate, stairs)
    else:
        falling = optax.exponential_decay(
            config.learning_rate,
            transition_steps=config.decay_every_epochs * config.steps_per_epoch,
            decay_rate=config.decay_factor,
            staircase=True,
        )
    if not config.warmup_steps:
        return falling
    return lambda step: jnp.minimum(1, (step + 1) / config.warmup_steps) * falling(step)


def _cosines(config: OptimizerConfig) -> optax.Schedule:
    steps, cycles = config.cosine_steps, config.cosine_cycles
    floor = config.cosine_floor / config.learning_rate
    cosine = optax.cosine_decay_schedule(config.learning_rate, steps, alpha=floor)
    return optax.join_schedules([cosine] * cycles, [steps * n for n in range(1, cycles)])


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformationExtraArgs:
    """Returns Adam, LAMB or SGD at the rates of `make_schedule`.

    `update` takes `stretch`, a float32 scalar that may be traced: after `count` steps the rate is
    that of the schedule at `count * stretch`.

    Gradients are clipped first, where `clip_norm` is not 0. SGD is PyTorch's: the weight decay is
    added to the clipped gradient, before the momentum. Where `skip_nonfinite` is not 0, steps whose
    gradients are not finite are rejected and counted.
    """

    def update(
        updates: Any, state: Any, params: Any = None, *, stretch: jax.Array | float = 1.0, **_: Any
    ) -> tuple[Any, Any]:
        return _optimizer(config, stretch).update(updates, state, params)

    return optax.GradientTransformationExtraArgs(_optimizer(config, 1.0).init, update)


def _optimizer(config: OptimizerConfig, stretch: jax.Array | float) -> optax.GradientTransformation:
    schedule = make_schedule(config)

    def rate(count: Any) -> Any:
        return schedule(count * stretch)

    if config.name in ("adam", "lamb"):
        adaptive = optax.adam if config.name == "adam" else optax.lamb
        steps = [adaptive(rate, b1=config.b1, b2=config.b2, eps=config.eps)]
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
