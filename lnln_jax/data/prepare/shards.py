"""The shards of a dataset, each written in a process of its own, so that a build can go on.

A shard appears, with its report beside it, when it is complete: so a build that was killed leaves
complete shards, which the next one takes over, and files that it throws away.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import io
import json
import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lnln_jax.data.image_sets import reason_of
from lnln_jax.data.prepare.shard_plan import Shard
from lnln_jax.data.prepare.sub_images import SubImage, sub_images, whole
from lnln_jax.images.encode import encode_png
from lnln_jax.images.files import ImageFileError
from lnln_jax.runtime.files import printable, write_file
from lnln_jax.runtime.processes import end_with_parent, stop_signals

_OPTIONS = "group_size:1,uncompressed"  # PNG is compressed already

Example = dict[str, Any]
Serialize = Callable[[Example], bytes]


class BadImageError(ValueError):
    """An image that can't be used, where the build is to stop at the first."""


@dataclass(frozen=True)
class ShardReport:
    """Contents of a shard.

    Attributes:
      examples: number of records.
      size: bytes of all records.
      checksum: CRC-32 of all records.
      smallest: shortest HR side of a record.
      largest: longest height and width.
      left_out: images that could not be used, and why.
    """

    examples: int = 0
    size: int = 0
    checksum: int = 0
    smallest: int = 2**31
    largest: tuple[int, int] = (0, 0)
    left_out: dict[str, str] = field(default_factory=dict)


def examples(shard: Shard, left_out: dict[str, str]) -> Iterator[tuple[str, SubImage]]:
    """Yields the records of a shard with the names of their images; notes those not usable."""
    for origin in shard.origins:
        name = printable(origin.name)  # records hold UTF-8
        try:
            hr = origin.read()
        except ImageFileError as error:
            left_out[name] = reason_of(error, Path(origin.container, origin.name))
            continue
        height, width = hr.shape[:2]
        if min(height, width) < shard.cut.min_side:
            left_out[name] = (
                f"{width}x{height} pixels (width x height) is too small: no side may have fewer "
                f"than {shard.cut.min_side}"
            )
            continue
        parts = sub_images(hr, shard.cut) if shard.split == "train" else [whole(hr, shard.cut)]
        for part in parts:
            yield name, part


def example(name: str, part: SubImage) -> Example:
    """Makes a record as TFDS encodes it, images as PNG files."""
    images = {"hr": part.hr} | {f"lr_x{scale}": lr for scale, lr in part.lr.items()}
    encoded = {key: io.BytesIO(encode_png(image)) for key, image in images.items()}
    return {**encoded, "image": name, "top": part.top, "left": part.left}


def read_report(folder: Path, shard: Shard) -> ShardReport | None:
    """Reads the report of a complete shard; None if there is none."""
    path = folder / f"{shard.name}.json"
    if not path.is_file():
        return None
    values = json.loads(path.read_bytes())
    report = ShardReport(**values | {"largest": tuple(values["largest"])})
    # An empty shard has no file.
    return report if not report.examples or (folder / shard.name).is_file() else None


def write_shard(folder: Path, shard: Shard, serialize: Serialize, *, stop: bool) -> ShardReport:
    """Writes a shard and its report.

    Args:
      folder: folder of the shards.
      shard: contents that it is to have.
      serialize: function that makes bytes of what `example` returns.
      stop: whether to raise at the first image that can't be used.

    Raises:
      BadImageError: there is one; nothing has been written.
      OSError: it can't be written.
    """
    from array_record.python import array_record_module

    left_out: dict[str, str] = {}
    count = size = checksum = height = width = 0
    smallest = 2**31
    temporary = folder / f"{shard.name}.{os.getpid()}.tmp"
    writer = array_record_module.ArrayRecordWriter(str(temporary), _OPTIONS)
    try:
        for name, part in examples(shard, left_out):
            if stop and left_out:
                break
            record = serialize(example(name, part))
            with _writing():
                writer.write(record)
            count += 1
            size += len(record)
            checksum = zlib.crc32(record, checksum)
            sides = part.hr.shape[:2]
            smallest = min(smallest, *sides)
            height, width = max(height, sides[0]), max(width, sides[1])
        with _writing():
            writer.close()
        if stop and left_out:
            name, reason = next(iter(left_out.items()))
            raise BadImageError(f"{name}: {reason}")
        if count:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(folder / shard.name)
    finally:
        temporary.unlink(missing_ok=True)
    report = ShardReport(count, size, checksum, smallest, (height, width), left_out)
    write_file(folder / f"{shard.name}.json", json.dumps(dataclasses.asdict(report)).encode())
    return report


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Turns what the writer raises, as for a full disk, into an error with a remedy."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(
            f"a shard cannot be written: {error}; mend that and run the same command again, which "
            "goes on from here"
        ) from error


@contextlib.contextmanager
def _pool(folder: Path, workers: int) -> Iterator[concurrent.futures.Executor]:
    """Starts processes that write shards; after an exception they end at once."""
    # Spawned: JAX's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=end_with_parent
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                if process not in others:
                    process.kill()
                    process.join()
            for path in folder.glob("*.tmp"):
                path.unlink()
            raise


def write_shards(
    folder: Path,
    shards: Sequence[Shard],
    serialize: Serialize,
    *,
    stop: bool,
    workers: int,
    progress: Callable[[int, int], None],
) -> list[ShardReport]:
    """Writes those shards that aren't there yet.

    Args:
      folder: folder of the shards.
      shards: all shards of the dataset.
      serialize: function that makes bytes of an example; it is pickled.
      stop: whether to raise at the first image that can't be used.
      workers: number of processes; 1 writes in this one.
      progress: function called with (images done, images in all).

    Returns:
      The reports of all, in order.

    Raises:
      BadImageError: there is one; complete shards stay.
      OSError: a shard can't be written.
      KeyboardInterrupt: SIGINT or SIGTERM asks to stop.
    """
    reports = {shard.name: report for shard in shards if (report := read_report(folder, shard))}
    for report in reports.values() if stop else ():
        for name, reason in report.left_out.items():
            raise BadImageError(f"{name}: {reason}")
    missing = [shard for shard in shards if shard.name not in reports]
    total = sum(len(shard.origins) for shard in shards)
    done = total - sum(len(shard.origins) for shard in missing)
    progress(done, total)
    write = functools.partial(write_shard, folder, serialize=serialize, stop=stop)

    def finished(shard: Shard, report: ShardReport) -> None:
        nonlocal done
        reports[shard.name] = report
        done += len(shard.origins)
        progress(done, total)

    with stop_signals("stopping; complete shards stay") as request:
        if workers == 1:
            for shard in missing:
                finished(shard, write(shard))
                if request.requested:
                    raise KeyboardInterrupt
        elif missing:
            with _pool(folder, min(workers, len(missing))) as pool:
                futures = {pool.submit(write, shard): shard for shard in missing}
                pending = set(futures)
                while pending:
                    ended, pending = concurrent.futures.wait(pending, 0.1, "FIRST_COMPLETED")
                    for future in ended:
                        finished(futures[future], future.result())
                    if request.requested:
                        raise KeyboardInterrupt
    return [reports[shard.name] for shard in shards]
