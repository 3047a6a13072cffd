"""What every test shares: strict dtype promotion, and the folder of real images."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

# An accidental mix of dtypes (float32 with float64, or bfloat16 with float32) is an error.
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with Set5, Set14 and so on: $LNLN_TEST_DATA, or shared/data beside the project."""
    project = Path(__file__).parents[1]
    folder = Path(os.environ.get("LNLN_TEST_DATA") or project.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is not a folder (set LNLN_TEST_DATA to change it)")
    return folder


@pytest.fixture(scope="module")
def standard_promotion() -> Iterator[None]:
    """For tests that train: Optax divides the integer count of its schedules."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session", autouse=True)
def caches_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the commands' compilation cache away from the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("caches"))
