"""What every test shares: one thread, one compilation cache, strict promotion, and real images."""

import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _kind_of_cpu() -> str:
    """Returns a short name of this CPU: what XLA compiles for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.lower().startswith(("flags", "features"))]
    return hashlib.sha256((features or [platform.processor()])[0].encode()).hexdigest()[:8]


# Before JAX and PyTorch start, and for all processes that tests start. Several tests run at once:
# each has one thread. What one of them compiles is there for the others, and for the next call.
CACHE = Path(os.environ.get("LNLN_TEST_CACHE") or ROOT / ".pytest_cache" / "xla") / _kind_of_cpu()
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "NPROC": "1",  # of XLA's threads on a CPU
    "OMP_NUM_THREADS": "1",
}

import jax  # noqa: E402
import pytest  # noqa: E402

from tests.support.photos import make_data  # noqa: E402

# An accidental mix of dtypes (float32 with float64, or bfloat16 with float32) is an error.
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures as Set5, Set14 and so on have them, made of scikit-image's photos."""
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def published_dir() -> Path:
    """The real Set5, Set14 and so on: $LNLN_TEST_DATA, or shared/data beside the project."""
    folder = Path(os.environ.get("LNLN_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is not a folder (set LNLN_TEST_DATA to change it)")
    return folder


@pytest.fixture(scope="session")
def published_weights(published_dir: Path) -> Path:
    """The authors' files, beside the real images."""
    folder = published_dir.parent / "weights"
    if not folder.is_dir():
        pytest.skip(f"no published weights: {folder} is not a folder")
    return folder


@pytest.fixture(scope="module")
def standard_promotion() -> Iterator[None]:
    """For tests that train: Optax divides the integer count of its schedules."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session", autouse=True)
def caches_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what else commands cache away from the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("caches"))


def _in_haste() -> Iterator[None]:
    """Halves the time of compilation, for tests of programs that run once or twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


hasty_compiler = pytest.fixture(_in_haste)  # for a test
hasty_compiler_here = pytest.fixture(_in_haste, scope="module")  # for all tests of a file
