"""One training step, beside its definition in NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.config import OptimizerConfig
from lnln_jax.training.optimizer import make_optimizer, make_schedule
from lnln_jax.training.state import create_state
from lnln_jax.training.step import make_train_step

pytestmark = pytest.mark.usefixtures("standard_promotion")


class Gain(nn.Module):
    """Doubles the size and multiplies each channel: a network that NumPy can follow."""

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        gain = self.param("gain", lambda _: jnp.array([0.53, 1.01, 1.97]))
        mean = self.variable("batch_stats", "mean", jnp.zeros, 3)
        if train:
            mean.value = lr.mean((0, 1, 2))
        return lr.repeat(2, axis=1).repeat(2, axis=2) * gain


@pytest.mark.parametrize("clip_norm", [0.0, 10.0])
def test_the_step_is_its_definition(clip_norm):
    config = OptimizerConfig(
        learning_rate=0.1, eps=1.0, decay_every_epochs=2, steps_per_epoch=1, clip_norm=clip_norm
    )
    ema_decay, steps, module = 0.3, 5, Gain()
    optimizer, schedule = make_optimizer(config), make_schedule(config)
    step = make_train_step(module, optimizer, schedule=schedule, ema_decay=ema_decay)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 2, 2, 3)))
    state = create_state(variables, optimizer, ema=True)
    rng = np.random.default_rng(0)

    # Gains at which no pixel is exact: there |x| has no gradient, and JAX takes 1.
    gain, m, v = np.array([0.53, 1.01, 1.97]), np.zeros(3), np.zeros(3)
    ema = {"gain": gain, "mean": np.zeros(3)}
    for i in range(steps):
        lr = rng.integers(0, 256, (2, 3, 4, 3), np.uint8)
        hr = rng.integers(0, 256, (2, 6, 8, 3), np.uint8)
        given = state
        state, metrics = step(given, {"lr": lr, "hr": hr})
        assert all(
            leaf.is_deleted() for leaf in jax.tree.leaves((given.variables["params"], given.ema))
        )

        x = lr.astype(float).repeat(2, axis=1).repeat(2, axis=2)
        loss = np.abs(x * gain - hr).mean()
        grad = (np.sign(x * gain - hr) * x).sum((0, 1, 2)) / hr.size
        norm, rate = np.sqrt((grad**2).sum()), 0.1 * 0.5 ** (i // 2)
        assert norm > clip_norm  # so it clips, where it does
        expected = {"loss": loss, "grad_norm": norm, "learning_rate": rate, "skipped": 0}
        assert {key: float(value) for key, value in metrics.items()} == pytest.approx(expected)

        if clip_norm:
            grad *= clip_norm / norm
        m, v = 0.9 * m + 0.1 * grad, 0.99 * v + 0.01 * grad**2
        m_hat, v_hat = m / (1 - 0.9 ** (i + 1)), v / (1 - 0.99 ** (i + 1))
        gain = gain - rate * m_hat / (np.sqrt(v_hat) + 1.0)
        mean = lr.astype(float).mean((0, 1, 2))
        decay = min(ema_decay, (1 + i) / (10 + i))  # the first three steps are below
        ema["gain"] = decay * ema["gain"] + (1 - decay) * gain
        ema["mean"] = decay * ema["mean"] + (1 - decay) * mean
        np.testing.assert_allclose(state.variables["params"]["gain"], gain, rtol=1e-5)
        np.testing.assert_allclose(state.variables["batch_stats"]["mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(state.averaged["params"]["gain"], ema["gain"], rtol=1e-5)
        np.testing.assert_allclose(state.averaged["batch_stats"]["mean"], ema["mean"], rtol=1e-5)
    assert int(state.step) == steps
    assert state.replace(ema=None).averaged is state.variables
