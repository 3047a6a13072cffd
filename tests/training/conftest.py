"""What the tests of checkpoints share: a state, and the stream of its data."""

import pytest

from lnln_jax.data import make_train_iterator
from lnln_jax.models.variables import initialize
from lnln_jax.training.optimizer import make_optimizer
from lnln_jax.training.state import TrainState, create_state
from tests.support.checkpoints import CONFIG, MODULE, SOURCE


@pytest.fixture(scope="module")
def fresh() -> TrainState:
    variables = initialize(MODULE, 0)
    return create_state(variables, make_optimizer(CONFIG.optimizer), ema=True)


@pytest.fixture
def iterator():
    iterator = make_train_iterator([SOURCE], lr_patch_size=8, batch_size=2, seed=0)
    yield iterator
    iterator.close()
