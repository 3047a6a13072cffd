"""From shards and their reports to a data set as TFDS reads it."""

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
from lnln_jax.data.prepare.sub_images import FORMAT

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
      data: the folder; one that is there is replaced.
      parts: where the shards are.
      written: the shards in order, with their reports.
      info: of the data set; it gets splits and metadata.
      settings: for the metadata, as the next two.
      plan: what identifies images and settings.
      left_out: images that could not be used, and why.

    Raises:
      OSError: it can't be written.
    """
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    split_infos = []
    by_split: dict[str, list[ShardReport]] = {}
    for split in SPLITS:
        template = naming.ShardedFileTemplate(
            data_dir=data, dataset_name=info.name, split=split, filetype_suffix="array_record"
        )
        filled = [
            (shard, report) for shard, report in written if shard.split == split and report.examples
        ]
        for i, (shard, _) in enumerate(filled):
            name = template.sharded_filepath(shard_index=i, num_shards=len(filled)).name
            _link(parts / shard.name, data / name)
        if filled:
            by_split[split] = [report for _, report in filled]
            split_infos.append(
                splits.SplitInfo(
                    name=split,
                    shard_lengths=[report.examples for _, report in filled],
                    num_bytes=sum(report.size for _, report in filled),
                    filename_template=template,
                )
            )
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


def _link(source: Path, target: Path) -> None:
    """A second name, or a copy where the file system has no such thing."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
