"""The losses; tests/training/test_loop.py has the step."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lnln_jax.images.arrays import rgb_to_y
from lnln_jax.training.step import training_loss


class Repeat(nn.Module):
    """Doubles the size; what it gets is what it gives."""

    n_colors: int = 3

    @nn.compact
    def __call__(self, lr, *, train):
        assert train
        assert lr.shape[-1] == self.n_colors
        return lr.repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize("n_colors", [1, 3])
@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_losses_by_hand(n_colors, kind):
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (2, 3, 4, 3), np.uint8)
    hr = rng.integers(0, 256, (2, 6, 8, 3), np.uint8)
    batch = {"lr": jnp.asarray(lr), "hr": jnp.asarray(hr)}
    loss, changed = training_loss(Repeat(n_colors), {}, batch, kind)

    sr = lr.repeat(2, axis=1).repeat(2, axis=2).astype(np.float64)
    error = rgb_to_y(sr) - rgb_to_y(hr) if n_colors == 1 else sr - hr
    expected = {
        "l1": np.abs(error).mean(),  # in units of 0..255
        "l2": 0.5 * ((error / 255) ** 2).sum() / 2,  # in units of 0..1, of a batch of two
    }
    assert float(loss) == pytest.approx(expected[kind], rel=1e-6)
    assert changed == {}
