from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lnln_jax.config import OptimizerConfig, TrainConfig
from lnln_jax.training.optimizer import make_optimizer, make_schedule

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_the_learning_rate_is_halved_every_200_epochs_of_1000_steps():
    schedule = make_schedule(OptimizerConfig())
    for step, expected in [(0, 1e-4), (199_999, 1e-4), (200_000, 5e-5), (999_999, 6.25e-6)]:
        # Powers of two are exact, so only the float32 rounding of 1e-4 remains.
        assert float(schedule(step)) == pytest.approx(expected, rel=6e-8)


def test_the_learning_rate_rises_and_falls_along_a_cosine():
    config = OptimizerConfig(learning_rate=0.5, warmup_steps=4, cosine_steps=100)
    schedule = make_schedule(config)
    for step, warm in [(0, 0.25), (1, 0.5), (3, 1), (4, 1), (25, 1), (50, 1), (99, 1), (100, 1)]:
        expected = warm * 0.5 * (1 + np.cos(np.pi * step / 100)) / 2
        # The cosine of a float32 near pi/2 and pi is known to 1e-7 of 1.
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_cosines_one_after_the_other_end_at_their_floor():
    config = OptimizerConfig(
        learning_rate=0.5, cosine_steps=100, cosine_cycles=4, cosine_floor=0.125
    )
    schedule = make_schedule(config)
    for step, share in [(0, 1), (50, 0.5), (100, 1), (150, 0.5), (399, None), (400, 0), (999, 0)]:
        share = (1 + np.cos(np.pi * 0.99)) / 2 if share is None else share
        assert float(schedule(step)) == pytest.approx(0.125 + 0.375 * share, rel=1e-6)
    TrainConfig(optimizer=config, steps=401)
    with pytest.raises(ValueError, match=r"optimizer\.cosine_steps is 100, after which"):
        TrainConfig(optimizer=replace(config, cosine_floor=0.0), steps=401)


def test_stairs_at_given_epochs():
    config = OptimizerConfig(learning_rate=0.5, decay_at_epochs=(2, 3), steps_per_epoch=10)
    rates = [float(make_schedule(config)(step)) for step in (0, 19, 20, 29, 30, 1000)]
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decay_at_epochs": (3, 2)}, r"decay_at_epochs is \(3, 2\)"),
        ({"decay_at_epochs": (0, 2)}, r"decay_at_epochs is \(0, 2\)"),
        ({"cosine_floor": 1.0}, r"cosine_floor is 1\.0; it must be from 0 to below"),
        ({"cosine_cycles": 0}, "cosine_cycles is 0"),
    ],
)
def test_schedules_that_make_no_sense(fields, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**fields)


def test_a_rate_that_rises_to_stairs():
    config = OptimizerConfig(
        learning_rate=0.5, warmup_steps=4, decay_every_epochs=1, steps_per_epoch=3
    )
    rates = [float(make_schedule(config)(step)) for step in range(7)]
    assert rates == [0.125, 0.25, 0.375, 0.25, 0.25, 0.25, 0.125]


@pytest.mark.parametrize(
    "falling",
    [
        {"cosine_steps": 3000},
        {"cosine_steps": 700, "cosine_cycles": 4, "cosine_floor": 1e-7},
        {"steps_per_epoch": 5},
        {"steps_per_epoch": 5, "decay_at_epochs": (100, 500)},
    ],
)
def test_a_rate_that_is_not_stretched_is_the_same_bit_for_bit(falling):
    config = OptimizerConfig(learning_rate=3e-4, warmup_steps=70, **falling)
    schedule, counts = make_schedule(config), jnp.arange(3100)
    plain = jax.jit(jax.vmap(schedule))(counts)
    stretched = jax.jit(jax.vmap(lambda count, s: schedule(count * s), (0, None)))
    np.testing.assert_array_equal(stretched(counts, jnp.float32(1)), plain)


@pytest.mark.parametrize("name", ["adam", "lamb", "sgd"])
def test_a_stretched_optimizer_goes_through_its_schedule_faster(name):
    """Twice as fast as the same numbers, and as fast as half the numbers."""
    config = OptimizerConfig(
        name=name, learning_rate=0.5, cosine_steps=40, clip_norm=2.0, skip_nonfinite=3
    )
    halved, double = replace(config, cosine_steps=20), {"stretch": jnp.float32(2)}
    params = {"w": jnp.array([1.0, -2.0])}
    results = []
    for optimizer, extra in ((make_optimizer(config), double), (make_optimizer(halved), {})):
        state, updates = optimizer.init(params), []
        for i in range(4):
            grads = {"w": jnp.array([3.0 - i, 4.0])}
            update, state = jax.jit(optimizer.update)(grads, state, params, **extra)
            updates.append(update["w"])
        results.append((updates, state))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6)  # of the cosine's rounding
    assert jax.tree.structure(results[0][1]) == jax.tree.structure(results[1][1])


def test_a_training_that_goes_on_at_a_rate_of_0_is_refused():
    optimizer = OptimizerConfig(cosine_steps=100)
    with pytest.raises(ValueError, match=r"optimizer\.cosine_steps is 100, after which"):
        TrainConfig(optimizer=optimizer, steps=101)
    assert TrainConfig(optimizer=optimizer, steps=100).steps == 100
    assert TrainConfig(optimizer=optimizer, steps=400, schedule_steps=100).stretch == 0.25
    with pytest.raises(ValueError, match=r"after which the learning rate is 0, and schedule_steps"):
        TrainConfig(optimizer=optimizer, steps=100, schedule_steps=101)


def test_the_first_lamb_step_is_a_share_of_the_weights():
    optimizer = make_optimizer(OptimizerConfig(name="lamb", learning_rate=0.25))
    params = {"w": jnp.array([3.0, -4.0]), "bias": jnp.zeros(2)}
    grads = {"w": jnp.array([7.0, 1e-2]), "bias": jnp.array([0.5, 0.5])}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    # Adam's first direction is the sign of the gradient, of norm sqrt(2), and the weights' norm 5.
    length = 0.25 * 5 / np.sqrt(2)
    np.testing.assert_allclose(updates["w"], [-length, -length], rtol=3e-6)  # eps against 1e-2
    np.testing.assert_allclose(updates["bias"], [-0.25, -0.25], rtol=1e-6)  # no norm: as Adam


def test_the_first_adam_step_has_the_length_of_the_learning_rate():
    optimizer = make_optimizer(OptimizerConfig(learning_rate=0.5))
    params = {"w": jnp.zeros(3)}
    grads = {"w": jnp.array([3.0, -1e-3, 40.0])}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], [-0.5, 0.5, -0.5], rtol=2e-5)  # eps against 1e-3


def test_clipping_bounds_the_gradient_before_adam():
    config = OptimizerConfig(learning_rate=0.5, eps=1.0, clip_norm=1e-3)
    optimizer = make_optimizer(config)
    params = {"w": jnp.zeros(2)}
    updates, _ = optimizer.update({"w": jnp.array([30.0, 40.0])}, optimizer.init(params), params)
    # Clipped to (0.6e-3, 0.8e-3); with eps 1 Adam's first step is lr * g / (|g| + 1).
    np.testing.assert_allclose(updates["w"], [-0.3e-3, -0.4e-3], rtol=2e-3)


def test_sgd_is_pytorchs():
    config = OptimizerConfig(
        name="sgd",
        learning_rate=0.5,
        momentum=0.75,
        weight_decay=0.25,
        clip_norm=2.5,
        decay_factor=0.5,
        decay_every_epochs=1,
        steps_per_epoch=2,
    )
    optimizer = make_optimizer(config)
    params = {"w": jnp.array([1.0, -2.0])}
    state, weights, velocity = optimizer.init(params), np.array([1.0, -2.0]), np.zeros(2)
    for step, grad in enumerate([[3.0, 4.0], [0.5, 1.0], [0.0, 0.25]]):
        updates, state = optimizer.update({"w": jnp.array(grad)}, state, params)
        params = optax.apply_updates(params, updates)
        clipped = np.array(grad) * min(1, 2.5 / np.linalg.norm(grad))
        velocity = 0.75 * velocity + clipped + 0.25 * weights
        weights = weights - 0.5 * 0.5 ** (step // 2) * velocity
    np.testing.assert_array_equal(params["w"], weights)  # all numbers are short binary fractions
