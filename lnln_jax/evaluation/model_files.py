"""The models that a leaderboard compares: files, runs and names, and what identifies each."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lnln_jax.inference.loading import model_name
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.weights.load import SUFFIXES, find_source, is_pretrained
from lnln_jax.weights.part_names import files_of_set, stem_of

BICUBIC = "bicubic"
_OF_A_RUN = ("checkpoints/*/config", "[0-9]*/config")  # its folder, or that of its checkpoints


@dataclass(frozen=True)
class ModelSource:
    """One model, before anything of it is read.

    Attributes:
      source: what `load_model` takes.
      name: name in tables, which others may have as well.
    """

    source: str
    name: str

    def sha256(self) -> str:
        """Returns what changes with the contents: the SHA-256 of the file.

        Of several files, a set's or a run's checkpoints', it is that of a list with the name and
        the SHA-256 of each. It is "" of bicubic interpolation, and where there is nothing.

        Raises:
          ValueError: several sets of that name, or a file of the set is missing.
          OSError: a file cannot be read.
        """
        if self.source == BICUBIC or not (path := find_source(self.source)).exists():
            return ""
        if not path.is_dir():
            files = files_of_set(path)
            if len(files) == 1:
                return _sha256(path)
        else:
            files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{_sha256(file)}  {file.relative_to(path.parent).as_posix()}" for file in files]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def find_models(sources: Sequence[str]) -> list[ModelSource]:
    """Finds the models that a user names, each once.

    Args:
      sources: names and paths, as `load_model` takes them; or folders, of whose files, at any
        depth, those with one of `SUFFIXES` are models, as are the folders of runs in them, and
        those that cannot be listed.

    Raises:
      ValueError: a folder without models.
    """
    found: dict[str, ModelSource] = {}
    for source in sources:
        models = list(_models(source))
        if not models:
            raise ValueError(
                f"{printable(source)} holds no model; give a folder of files "
                f"({', '.join(SUFFIXES)}) or of training runs"
            )
        for model in models:
            key = model.source
            if key != BICUBIC and not is_pretrained(key):
                key = os.path.abspath(local_path(key))
            found.setdefault(key, model)
    return list(found.values())


def _models(source: str) -> Iterator[ModelSource]:
    """Yields the models that one argument names."""
    folder = Path(local_path(source))
    if source == BICUBIC or is_pretrained(source) or not folder.is_dir() or _is_run(folder):
        yield ModelSource(source, BICUBIC if source == BICUBIC else model_name(Path(source)))
        return
    sets = set()  # files of one model are it once
    unread: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=unread.append):
        runs = [name for name in folders if _is_run(Path(place, name))]
        folders[:] = sorted({*folders} - {*runs} - {n for n in folders if n.startswith(".")})
        for name in sorted([*files, *runs]):
            path = Path(place, name)
            known = path.with_name(stem_of(path) + path.suffix)
            fits = name in runs or path.suffix.lower() in SUFFIXES
            if fits and not name.startswith(".") and known not in sets:
                sets.add(known)
                yield ModelSource(str(path), model_name(path))
    for error in unread:  # whoever loads it is told why
        yield ModelSource(error.filename, Path(error.filename).name)


def _is_run(folder: Path) -> bool:
    """Returns whether a folder is that of a run, of its checkpoints, or of one of them."""
    one = folder.name.isdigit() and (folder / "config").exists()
    return one or any(any(folder.glob(pattern)) for pattern in _OF_A_RUN)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
