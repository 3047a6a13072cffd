"""The paths in a configuration: a run is the same wherever its files lie and however it calls them.

What counts is what they hold. Checkpoints have the identities of the images, so that images may
move, and configurations are saved with absolute paths, so that a run may be called from anywhere.
"""

import contextlib
import filecmp
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lnln_jax.config import TrainConfig
from lnln_jax.config.paths import with_paths
from lnln_jax.data import find_dataset
from lnln_jax.data.layout_folders import MADE
from lnln_jax.data.pairs import checksum_of
from lnln_jax.data.records import default_data_dir
from lnln_jax.evaluation.test_sets import Benchmark
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.training.inputs import data_dir
from lnln_jax.weights.load import is_pretrained
from lnln_jax.weights.part_names import files_of
from lnln_jax.weights.runs import saved_images


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Returns a configuration with absolute paths; what names a dataset or a network stays.

    Where a folder here is meant and not the dataset of its name, a warning says so.
    """

    def absolute(name: str) -> Path:
        with contextlib.suppress(ValueError):  # which opening it will raise again
            find_dataset(name, config.model.scale, data_dir(config.data))
        return Path(name).absolute()

    return _with_places(config, absolute)


def with_paths_of(config: TrainConfig, run: Path) -> TrainConfig:
    """Returns the configuration of a run with paths that are found from here.

    Relative ones, which older runs have, count from the folder where training was started; that is
    taken to be the nearest above the run's folder where they lead to something.
    """

    places = (Path(), *run.absolute().parents)
    data_dirs = (folder / local_path(config.data.data_dir) for folder in places)
    place = next((path for path in data_dirs if path.is_dir()), Path())

    def find(name: str) -> Path:
        if Path(name).exists() or _is_dataset(name, config, place):
            return Path(name)
        found = (folder / name for folder in places if (folder / name).exists())
        return next(found, Path(name))

    return _with_places(config, lambda name: find(name).absolute())


def _is_dataset(name: str, config: TrainConfig, place: Path) -> bool:
    folder = place if config.data.data_dir else default_data_dir()
    try:
        return find_dataset(name, config.model.scale, folder) is not None
    except ValueError:  # one of other scales, say
        return True


def as_called_now(
    saved: TrainConfig, config: TrainConfig, run: Path, validation: str
) -> TrainConfig:
    """Returns the saved configuration of a run, with the paths of another that hold the same.

    Args:
      saved: configuration of the newest checkpoint.
      config: configuration to go on with; its paths are absolute.
      run: folder of the run.
      validation: identity of the validation images of `config`.
    """
    saved = with_spelling_of(config, with_paths_of(saved, run))
    known = saved_images(run / "checkpoints").get("validation")
    if not (known and saved.data.validation and config.data.validation):
        return saved  # an older run, or one without them
    called = config.data.validation
    if known != validation and called == saved.data.validation:
        called += " (other images)"
    elif known != validation:
        called = saved.data.validation
    return replace(saved, data=replace(saved.data, validation=called))


def with_spelling_of(config: TrainConfig, saved: TrainConfig) -> TrainConfig:
    """Returns a saved configuration, its paths spelled as in another where they mean the same."""

    def spelled(old: str, new: str) -> str:
        return new if is_same(old, new) else old

    def all_spelled(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(spelled, old, new)) if len(old) == len(new) else old

    old, new = saved.data, config.data
    data = replace(
        old,
        train=all_spelled(old.train, new.train),
        train_lr=all_spelled(old.train_lr, new.train_lr),
        validation=spelled(old.validation, new.validation),
    )
    return replace(saved, data=data, init_from=spelled(saved.init_from, config.init_from))


def is_same(old: str, new: str) -> bool:
    """Returns whether two values of a field that is a path mean one place, or files of one content.

    One that is no longer there is taken to have moved, if its name is the same.
    """
    if not (old and new) or old == new:
        return old == new
    a, b = (Path(local_path(name)) for name in (old, new))
    if not a.exists() and b.exists():
        return a.name == b.name
    if a.is_file() and b.is_file():
        return filecmp.cmp(a, b, shallow=False)
    return a.exists() and b.exists() and a.samefile(b)


def identity_of(benchmark: Benchmark | None) -> str:
    """Returns the checksum of validation images; "" where there are none."""
    if benchmark is None:
        return ""
    return checksum_of(array for image in benchmark for array in (image.lr, image.hr))


def _with_places(config: TrainConfig, place: Callable[[str], Path]) -> TrainConfig:
    """Returns a configuration with another path for each that leads to something.

    A word in place of a path stays: `imresize`, the name of a trained network or of a dataset.
    """

    def placed(name: str) -> str:
        if name in ("", MADE):
            return name
        path = place(local_path(name))
        return str(path) if path.exists() else name

    start = config.init_from
    if start and not is_pretrained(start):
        path = place(local_path(start))
        if path.exists() or files_of(path):  # of a set of files, a name without numbers
            start = str(path)
    return replace(with_paths(config, placed), init_from=start)
