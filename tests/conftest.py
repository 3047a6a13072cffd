"""What every test shares: strict dtype promotion, and the folder of real images."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

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


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder through which the tests of a file share what XLA compiled."""
    folder = tmp_path_factory.mktemp("compiled")
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield folder
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def hasty_compiler() -> Iterator[None]:
    """Halves the time of compilation, for tests of programs that run once or twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
