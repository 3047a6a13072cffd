"""Whether what a checkpoint holds is whole, and whether it fits."""

import contextlib
import errno
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lnln_jax.runtime.files import excerpt, free_space, printable

_METADATA_BYTES = 2**20  # what a checkpoint has besides its arrays
# Errors that say nothing of what is in a file.
_OF_THE_SYSTEM = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
_OF_DAMAGE = (AttributeError, LookupError, OSError, ValueError, TypeError)
_LISTED = 5  # arrays that an error names
MOST_LISTED = 20  # lines of a longer list
_LONGEST = 300  # characters of a line


class DamagedCheckpointError(ValueError):
    """A checkpoint that cannot be read."""


def none_readable(folder: Path, problems: list[DamagedCheckpointError]) -> DamagedCheckpointError:
    """Returns what to raise where every checkpoint that was tried is damaged."""
    listing = "; ".join(map(str, problems)) or "it holds none"
    return DamagedCheckpointError(
        f"no checkpoint in {printable(folder)} can be read: {listing}. Nothing has been "
        "changed; put a copy back, give another checkpoint, or train in another folder"
    )


def named_arrays(tree: Any) -> dict[str, Any]:
    """Returns the arrays of a tree by their paths, such as "body/group_1/first/norm_1/scale"."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def checksums(tree: Any) -> dict[str, int]:
    """Returns the CRC-32 of the values of each array that this process sees whole.

    Orbax's files have none: a flipped bit among the weights would come back as a wrong weight.
    """
    return {
        name: zlib.crc32(np.asarray(x).tobytes())
        for name, x in named_arrays(tree).items()
        if not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated
    }


def verify(tree: Any, expected: Mapping[str, int]) -> None:
    """Raises ValueError where an array is not what `checksums` saw; those it did not see pass."""
    actual = checksums(tree)
    wrong = [name for name in actual.keys() & expected.keys() if actual[name] != expected[name]]
    if wrong:
        raise ValueError(f"other values than were saved in {_list(sorted(wrong))}")


def json_checksum(item: Any) -> int:
    """Returns the CRC-32 of what JSON holds, the same before writing and after reading."""
    return zlib.crc32(json.dumps(item, sort_keys=True).encode())


def read_json(checkpoint: Path, name: str) -> Any:
    """Returns what a JSON item of a checkpoint holds, as Orbax writes it."""
    file = "metrics" if name == "metrics" else "metadata"
    return json.loads((checkpoint / name / file).read_text("utf-8"))


def verify_json(checkpoint: Path, names: Iterable[str]) -> None:
    """Raises OSError or ValueError where a JSON item is not what was saved; older ones pass."""
    if not (checkpoint / "checksums").is_dir():
        return
    expected = read_json(checkpoint, "checksums").get("json", {})
    for name in expected.keys() & set(names):
        if json_checksum(read_json(checkpoint, name)) != expected[name]:
            raise ValueError(f"other values than were saved in {name}")


def unreadable_scores(folder: Path) -> list[int]:
    """Returns the steps whose metrics are damaged: Orbax reads all together and stumbles."""
    steps = []
    for path in folder.glob("*/metrics/metrics"):
        try:
            json.loads(path.read_text())
        except ValueError:
            steps.append(int(path.parents[1].name))
    return sorted(steps)


def check_fit(saved: Any, expected: Any, checkpoint: Path) -> None:
    """Compares what a checkpoint holds with what a network needs, before anything is read.

    Args:
      saved: tree of shapes in the checkpoint's own metadata.
      expected: tree of shapes that the network needs.
      checkpoint: folder that the error names.

    Raises:
      ValueError: they differ; the message lists where.
    """
    if text := misfits(saved, expected, ("checkpoint", "network")):
        raise ValueError(
            f"the checkpoint {printable(checkpoint)} is of another network: {text}. Train in "
            "another folder (init_from takes over what fits), or give the network that it is of"
        )


def misfits(saved: Any, expected: Any, places: tuple[str, str]) -> str:
    """Lists where the shapes of two trees differ; "" where they are the same.

    Args:
      saved: tree of shapes.
      expected: tree of shapes.
      places: what the two are called: arrays are "only in the" first, say.
    """
    there, here = (
        {name: tuple(leaf.shape) for name, leaf in named_arrays(tree).items()}
        for tree in (saved, expected)
    )
    problems = [
        f"{name} is {_size(there[name])} in the {places[0]} and {_size(here[name])} in the "
        f"{places[1]}"
        for name in sorted(there.keys() & here.keys())
        if there[name] != here[name]
    ]
    text = _list(problems, "; ")
    extra, missing = there.keys() - here.keys(), here.keys() - there.keys()
    for names, where in zip((extra, missing), places, strict=True):
        if names:
            text += f"{'; ' if text else ''}only in the {where}: {_list(sorted(names))}"
    return text


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _list(items: list[str], separator: str = ", ") -> str:
    more = len(items) - _LISTED
    return separator.join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def raise_if(problems: Iterable[str], summary: str) -> None:
    """Raises one ValueError that lists the problems, if there are any."""
    if problems := sorted(problems):
        # They may quote names of a file.
        shown = [excerpt(problem, _LONGEST) for problem in problems[:MOST_LISTED]]
        more = len(problems) - MOST_LISTED
        if more > 0:
            shown.append(f"and {more} more")
        raise ValueError("\n  ".join([f"{summary}:", *shown]))


@contextlib.contextmanager
def damage_named(checkpoint: Path) -> Iterator[None]:
    """Turns the errors of a checkpoint that cannot be read into one that says which and why."""
    try:
        yield
    except DamagedCheckpointError:
        raise
    except Exception as error:  # of any type: Orbax wraps some in a bare one
        origin = _origin(error, checkpoint)
        if not isinstance(origin, _OF_DAMAGE) or getattr(origin, "errno", 0) in _OF_THE_SYSTEM:
            raise origin from None
        reason = " ".join(str(origin).split())[:200]
        raise DamagedCheckpointError(
            f"the checkpoint {printable(checkpoint)} is damaged ({reason})"
        ) from error


def _origin(error: Exception, checkpoint: Path) -> Exception:
    """Returns what an error of Orbax is about.

    What is raised for a part of an array comes in a bare Exception, and an error of the system as
    TensorStore's text.
    """
    if type(error) is Exception and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if found := re.search(r"os_error_code='(\d+)'", str(error)):
        number = int(found[1])
        return OSError(number, os.strerror(number), str(checkpoint))
    return error


def check_space(folder: Path, trees: Iterable[Any]) -> None:
    """Raises OSError where the disk has no room for these arrays; Orbax would fail half-way."""
    needed = sum(leaf.nbytes for tree in trees for leaf in jax.tree.leaves(tree))
    if (free := free_space(folder)) < needed + _METADATA_BYTES:
        raise OSError(
            errno.ENOSPC,
            f"No space left on device: {free / 2**20:.1f} MiB are free, and it takes "
            f"{(needed + _METADATA_BYTES) / 2**20:.1f}",
        )
