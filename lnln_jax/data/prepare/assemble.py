"""A dataset as TFDS reads it, from shards and their reports."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming, splits

from lnln_jax.data.prepare.shard_plan import Shard
from lnln_jax.data.prepare.shards import ShardReport
from lnln_jax.data.records import FORMAT

SPLITS = ("train", "validation")


def assemble(
    data: Path,
    parts: Path,
    written: Sequence[tuple[Shard, ShardReport]],
    *,
    info: tfds.core.DatasetInfo,
    settings: Mapping[str, Any],
    plan: str,
    left_out: Mapping[str, str],
) -> None:
    """Makes a folder with the shards, under TFDS's names, and what TFDS wants beside them.

    Args:
      data: folder to make; one that is there is replaced.
      parts: folder with the shards.
      written: shards in order, with their reports.
      info: description of the dataset; it gets splits and metadata.
      settings: settings of the cut, for the metadata, as the next two.
      plan: hash that identifies images and settings.
      left_out: images that could not be used, and why.

    Raises:
      OSError: it can't be written.
    """
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    by_split: dict[str, list[ShardReport]] = {}
    split_infos = []
    for split in SPLITS:
        filled = [
            (shard, each) for shard, each in written if shard.split == split and each.examples
        ]
        if filled:
            by_split[split] = [report for _, report in filled]
            split_infos.append(_place(data, parts, filled, info.name, split))
    records = [(shard.split, report.checksum, report.size) for shard, report in written]
    info.metadata.update(
        settings,
        format=FORMAT,
        smallest_side={
            split: min(report.smallest for report in reports) for split, reports in by_split.items()
        },
        largest={
            split: [max(report.largest[axis] for report in reports) for axis in (0, 1)]
            for split, reports in by_split.items()
        },
        images=sum(len(shard.origins) for shard, _ in written),
        left_out=left_out,
        fingerprint=hashlib.sha256(json.dumps(records).encode()).hexdigest(),
        plan=plan,
    )
    info.set_splits(splits.SplitDict(split_infos))
    info.write_to_directory(data)
    for path in data.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def _place(
    data: Path, parts: Path, filled: Sequence[tuple[Shard, ShardReport]], name: str, split: str
) -> splits.SplitInfo:
    """Puts the shards of a split into the folder, under TFDS's names."""
    template = naming.ShardedFileTemplate(
        data_dir=data, dataset_name=name, split=split, filetype_suffix="array_record"
    )
    for i, (shard, _) in enumerate(filled):
        path = template.sharded_filepath(shard_index=i, num_shards=len(filled))
        _link(parts / shard.name, data / path.name)
    return splits.SplitInfo(
        name=split,
        shard_lengths=[report.examples for _, report in filled],
        num_bytes=sum(report.size for _, report in filled),
        filename_template=template,
    )


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system has no such thing."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
