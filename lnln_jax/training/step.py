"""The training step: loss and gradients of a batch, and what they change in the state."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lnln_jax.images.arrays import rgb_to_y
from lnln_jax.models import input_channels
from lnln_jax.models.variables import Variables
from lnln_jax.training.state import Batch, Metrics, TrainState

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def as_seen(
    module: nn.Module, batch: Mapping[str, jax.Array | np.ndarray]
) -> tuple[jax.Array, jax.Array]:
    """Returns LR and HR of a batch as a network takes them: float32, RGB or luma, in 0..255."""
    lr, hr = (jnp.asarray(batch[key], jnp.float32) for key in ("lr", "hr"))
    if input_channels(module) == 1:
        return rgb_to_y(lr)[..., None], rgb_to_y(hr)[..., None]
    return lr, hr


def training_loss(
    module: nn.Module, variables: Variables, batch: Batch, kind: str
) -> tuple[jax.Array, Variables]:
    """Computes the loss of a batch in training mode.

    Args:
      module: network; one of luma alone sees, and is judged by, the luma of the batch.
      variables: parameters and batch statistics.
      batch: uint8 patches, LR and HR.
      kind: "l1", the mean absolute error in units of 0..255, or "l2", half the squared error in
        units of 0..1, summed over an image and averaged over the batch (as VDSR was trained).

    Returns:
      The loss, a float32 scalar, and the changed statistics.
    """
    lr, hr = as_seen(module, batch)
    sr, changed = module.apply(variables, lr, train=True, mutable=["batch_stats"])
    if kind == "l1":
        loss = jnp.abs(sr - hr).mean()
    else:
        loss = 0.5 * jnp.square((sr - hr) / 255.0).sum() / lr.shape[0]
    return loss, dict(changed)


class Gradients(NamedTuple):
    """Loss, statistics and gradients of one batch.

    Attributes:
      loss: float32 scalar.
      statistics: changed `{"batch_stats": ...}`, or `{}`.
      params: gradient of the loss, shaped as the parameters.
    """

    loss: jax.Array
    statistics: Variables
    params: Any


GradientFunction = Callable[[Variables, Batch], Gradients]


def make_gradients(
    module: nn.Module, loss: Literal["l1", "l2"] = "l1", accumulate: int = 1
) -> GradientFunction:
    """Returns a function of variables and a batch that computes gradients.

    Args:
      module: network.
      loss: as in `training_loss`.
      accumulate: number of equal parts of the batch that are gone through one after the other, in
        the memory that one needs. The results are the means over the parts. So the gradients are
        those of the whole batch but for batch normalisation, which takes its statistics over each
        part; the running ones take in the mean of the parts' statistics.
    """

    def of_batch(variables: Variables, batch: Batch) -> Gradients:
        rest = {key: value for key, value in variables.items() if key != "params"}

        def loss_of(params: Any) -> tuple[jax.Array, Variables]:
            return training_loss(module, {"params": params, **rest}, batch, loss)

        (value, changed), grads = jax.value_and_grad(loss_of, has_aux=True)(variables["params"])
        return Gradients(value, changed, grads)

    def of_parts(variables: Variables, batch: Batch) -> Gradients:
        parts = {key: x.reshape(accumulate, -1, *x.shape[1:]) for key, x in batch.items()}

        def add(total: Gradients, part: Batch) -> tuple[Gradients, None]:
            return jax.tree.map(jnp.add, total, of_batch(variables, part)), None

        shapes = jax.eval_shape(of_batch, variables, {key: x[0] for key, x in parts.items()})
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, parts)
        return jax.tree.map(lambda x: x / accumulate, total)

    return of_batch if accumulate == 1 else of_parts


def make_update(
    gradients: GradientFunction,
    optimizer: optax.GradientTransformation,
    *,
    schedule: optax.Schedule,
    ema_decay: float = 0.0,
) -> TrainStep:
    """Returns what a training step does; to be jitted, alone or among others.

    The optimizer gets the state's `stretch` as an extra argument, as those of `make_optimizer` take
    it. With an optimizer of `optax.apply_if_finite`, a step whose gradients are not finite changes
    neither parameters nor batch statistics nor the moving average.

    Returns:
      A function of a state and a batch that returns the next state and the metrics `loss`
      (before the update), `grad_norm`, `learning_rate` and `skipped` (1 for such a step),
      float32 scalars on the device.
    """
    optimize = optax.with_extra_args_support(optimizer).update

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        params = state.variables["params"]
        loss, statistics, grads = gradients(state.variables, batch)
        updates, opt_state = optimize(grads, state.opt_state, params, stretch=state.stretch)
        variables = {
            **state.variables,
            **statistics,
            "params": optax.apply_updates(params, updates),
        }
        ema = state.ema
        if ema is not None:
            # The decay grows to its value, so that the average soon forgets the first weights.
            decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
            ema = optax.incremental_update(variables, ema, 1 - decay)
        skipped = jnp.zeros((), bool)
        if isinstance(opt_state, optax.ApplyIfFiniteState):
            skipped = ~opt_state.last_finite
            variables, ema = jax.tree.map(
                lambda old, new: jnp.where(skipped, old, new),
                (state.variables, state.ema),
                (variables, ema),
            )
        metrics = {
            "loss": loss,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": jnp.asarray(schedule(state.step * state.stretch), jnp.float32),
            "skipped": skipped.astype(jnp.float32),
        }
        state = TrainState(state.step + 1, variables, opt_state, ema, state.stretch)
        return state, metrics

    return update


def make_train_step(
    module: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    loss: Literal["l1", "l2"] = "l1",
    **options: Any,
) -> TrainStep:
    """Returns a jitted `make_update`; the step takes over (donates) the state that it is given."""
    update = make_update(make_gradients(module, loss), optimizer, **options)
    return jax.jit(update, donate_argnums=0)


def make_train_steps(
    update: TrainStep, make_batch: Callable[[Any, jax.Array], Batch]
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Returns several training steps in one call, on batches that are made on the device.

    One loop is compiled for any number of steps, so how they are grouped changes no bit.

    Args:
      update: what a step does.
      make_batch: makes a batch of images and a plan.

    Returns:
      A jitted function of a state, which it takes over (donates), images, K plans along the first
      axis of an array, and n. It takes n <= K steps and returns the state after them and their
      metrics, `K`, of which the first n count.
    """

    def run(
        state: TrainState, images: Any, plans: jax.Array, n: jax.Array
    ) -> tuple[TrainState, Metrics]:
        def step(k: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, rows = carry
            state, metrics = update(state, make_batch(images, plans[k]))
            return state, {key: rows[key].at[k].set(value) for key, value in metrics.items()}

        _, shapes = jax.eval_shape(lambda: update(state, make_batch(images, plans[0])))
        rows = {key: jnp.zeros(len(plans), value.dtype) for key, value in shapes.items()}
        return jax.lax.fori_loop(0, n, step, (state, rows))

    return jax.jit(run, donate_argnums=0)
