"""TFDS data sets of HR images with their LR images, built without TensorFlow.

    <data_dir>/<name>/<cut.label>/1.0.0/
        <name>-train.array_record-00000-of-00058 ...   sub-images
        <name>-validation.array_record-...             whole images
        dataset_info.json, features.json, metadata.json, LICENSE

Any program reads them with `tfds.builder_from_directory(...).as_data_source()`. A record has `hr`
and, for every scale, `lr_x<scale>` (PNG), `image` (the name of the file it is from), `top` and
`left` (where it was cut). `metadata.json` has the settings and a fingerprint of the records.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, naming, splits
from tensorflow_datasets.proto import tf_example_pb2

from lnln_jax.data import shards
from lnln_jax.data.origins import Origin
from lnln_jax.data.shards import Shard, ShardReport
from lnln_jax.data.sub_images import Cut
from lnln_jax.process import exclusive

SPLITS = ("train", "validation")
_VERSION = "1.0.0"
_RESERVE = 2**26  # bytes that are to stay free


@dataclasses.dataclass(frozen=True)
class Description:
    """What a data set says of itself."""

    text: str
    homepage: str = ""
    citation: str = ""
    license: str = ""


class _Info(tfds.core.DatasetInfo):
    """Of a data set that Google's servers know nothing of."""

    def initialize_from_bucket(self) -> None:
        """Asks nobody; TFDS would, and leave an empty folder behind."""


class SubImages(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """Builds one data set; `download_and_prepare` is restartable, unlike that of TFDS.

    Attributes:
      cut: how images are cut.
      left_out: after the build, the images that could not be used, and why.
    """

    VERSION = tfds.core.Version(_VERSION)
    RELEASE_NOTES = {_VERSION: "First version."}  # noqa: RUF012 (TFDS has it so)

    def __init__(
        self,
        name: str,
        find: Callable[[], Mapping[str, Sequence[Origin]]],
        *,
        fixed: bool = False,
        cut: Cut,
        description: Description,
        data_dir: Path,
        on_bad_image: str = "skip",
        workers: int = 1,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Describes the data set; nothing is read yet.

        Args:
          name: lower-case letters, digits and underscores, a letter first.
          find: returns the images of each of `SPLITS`, after downloading them where that is needed.
          fixed: whether these are always the same, so that they need not be found to know that a
            data set is there.
          cut: how images are cut.
          description: what the data set says of itself.
          data_dir: where TFDS data sets lie.
          on_bad_image: "skip" leaves images out that can't be used; "stop" ends the build.
          workers: processes that build.
          progress: called with (images done, images in all).

        Raises:
          ValueError: a name that TFDS can't use.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise ValueError(
                f"name is {name!r}; it must be of lower-case letters, digits and underscores, with "
                "a letter first, such as my_photos"
            )
        if on_bad_image not in ("skip", "stop"):
            raise ValueError(f'on_bad_image is {on_bad_image!r}; it must be "skip" or "stop"')
        self.name = name
        self.cut = cut
        self.left_out: dict[str, str] = {}
        self._find = find
        self._fixed = fixed
        self._description = description
        self._stop = on_bad_image == "stop"
        self._workers = workers
        self._progress = progress
        config = tfds.core.BuilderConfig(name=cut.label, description=_in_words(cut))
        with _quiet():
            super().__init__(
                data_dir=data_dir.expanduser(), config=config, file_format="array_record"
            )

    def _info(self) -> tfds.core.DatasetInfo:
        def image() -> tfds.features.Image:
            return tfds.features.Image(shape=(None, None, 3), encoding_format="png")

        features = {"hr": image()} | {f"lr_x{scale}": image() for scale in self.cut.scales}
        return _Info(
            builder=self,
            description=self._description.text,
            features=tfds.features.FeaturesDict(
                {
                    **features,
                    "image": tfds.features.Text(),
                    "top": np.int32,
                    "left": np.int32,
                }
            ),
            supervised_keys=(f"lr_x{self.cut.scales[0]}", "hr"),
            homepage=self._description.homepage or None,
            citation=self._description.citation or None,
            license=self._description.license or None,
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(self, **_: Any) -> None:
        """Builds the data set, or goes on with a build that was interrupted.

        The data set appears in its place when it is complete. If it is there already and was built
        from the same images with the same settings, nothing happens.

        Raises:
          ValueError: there is one of the same name of other images or settings, no image can be
            used, another process builds it, or (with on_bad_image="stop") an image can't be used.
          OSError: not enough space on the disk, or it can't be written.
        """
        target = Path(self.data_dir)
        work = target.with_name(f"incomplete.{target.name}")
        with exclusive(target.parent, f"building {self.name}"):
            if self._fixed and target.exists():
                self._check_same(target, None)
                return
            planned = [
                shard
                for split, origins in self._find().items()
                if origins
                for shard in shards.plan_shards(split, origins, self.cut)
            ]
            plan = hashlib.sha256("".join(shard.name for shard in planned).encode()).hexdigest()
            if target.exists():
                self._check_same(target, plan)
                shutil.rmtree(work, ignore_errors=True)
                return
            parts = work / "shards"
            self._check_same_build(parts, planned)
            self._check_space(parts, planned)
            parts.mkdir(parents=True, exist_ok=True)
            self._clean(parts, planned)
            serializer = example_serializer.ExampleSerializer(
                self.info.features.get_serialized_info()
            )
            serialize = functools.partial(_serialize, self.info.features, serializer)
            reports = shards.write_shards(
                parts,
                planned,
                serialize,
                stop=self._stop,
                workers=self._workers,
                progress=self._progress,
            )
            for report in reports:
                self.left_out |= report.left_out
            if not sum(
                r.examples for s, r in zip(planned, reports, strict=True) if s.split == "train"
            ):
                shutil.rmtree(work)
                raise ValueError(
                    "none of the images for training can be used, so nothing was built: "
                    f"{_listing(self.left_out) or 'there are none'}"
                )
            self._finish(work / "data", parts, list(zip(planned, reports, strict=True)), plan)
            (work / "data").rename(target)
            shutil.rmtree(work)
            self.info.update_data_dir(str(target))

    def _check_same(self, target: Path, plan: str | None) -> None:
        """Refuses to take another data set for this one; without a plan, one of other settings."""
        try:
            metadata = json.loads((target / "metadata.json").read_text())
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{target} is no data set of `lnln prepare`, or is damaged ({error}); remove it, "
                "or choose another name"
            ) from error
        expected = {"plan": plan} if plan else self.cut.settings()
        if expected != {key: metadata.get(key) for key in expected}:
            raise ValueError(
                f"{target} is a data set of other images or settings; choose another name, or "
                "remove that folder"
            )
        self.left_out = metadata["left_out"]

    def _check_same_build(self, parts: Path, planned: Sequence[Shard]) -> None:
        """Refuses to throw away what another build has done."""
        done = {path.stem for path in parts.glob("*.json")}
        if done and not done & {shard.name for shard in planned}:
            raise ValueError(
                f"{parts.parent} is an unfinished data set of other images or settings; choose "
                "another name, or remove that folder"
            )

    def _clean(self, parts: Path, planned: Sequence[Shard]) -> None:
        """Removes what killed processes, or builds of other images, left."""
        names = {shard.name for shard in planned}
        for path in parts.iterdir():
            if path.suffix == ".tmp" or path.name.removesuffix(".json") not in names:
                path.unlink(missing_ok=True)

    def _check_space(self, parts: Path, planned: Sequence[Shard]) -> None:
        needed = sum(
            shard.estimate for shard in planned if shards.read_report(parts, shard) is None
        )
        free = shutil.disk_usage(next(path for path in parts.parents if path.exists())).free
        if needed + _RESERVE > free:
            raise OSError(
                f"not enough space in {self.data_dir}: about {needed / 1e9:.2f} GB are needed and "
                f"{free / 1e9:.2f} GB are free; make room, choose another data_dir, fewer scales "
                "or a larger step"
            )

    def _finish(
        self, data: Path, parts: Path, written: Sequence[tuple[Shard, ShardReport]], plan: str
    ) -> None:
        """Gives shards their names in `data` and writes what TFDS wants beside them."""
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        infos = []
        by_split: dict[str, list[ShardReport]] = {}
        for split in SPLITS:
            template = naming.ShardedFileTemplate(
                data_dir=data, dataset_name=self.name, split=split, filetype_suffix="array_record"
            )
            filled = [
                (shard, report)
                for shard, report in written
                if shard.split == split and report.examples
            ]
            for i, (shard, _) in enumerate(filled):
                name = template.sharded_filepath(shard_index=i, num_shards=len(filled)).name
                _link(parts / shard.name, data / name)
            if filled:
                by_split[split] = [report for _, report in filled]
                infos.append(
                    splits.SplitInfo(
                        name=split,
                        shard_lengths=[report.examples for _, report in filled],
                        num_bytes=sum(report.size for _, report in filled),
                        filename_template=template,
                    )
                )
        records = [(shard.split, report.checksum, report.size) for shard, report in written]
        self.info.metadata.update(
            self.cut.settings(),
            format=shards.FORMAT,
            smallest_side={
                split: min(report.smallest for report in reports)
                for split, reports in by_split.items()
            },
            largest={
                split: [max(report.largest[axis] for report in reports) for axis in (0, 1)]
                for split, reports in by_split.items()
            },
            images=sum(len(shard.origins) for shard, _ in written),
            left_out=self.left_out,
            fingerprint=hashlib.sha256(json.dumps(records).encode()).hexdigest(),
            plan=plan,
        )
        self.info.set_splits(splits.SplitDict(infos))
        self.info.write_to_directory(data)
        for path in data.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, Any]]]:
        """For TFDS's own way of building, which this builder has no use for."""
        return {
            split: self._generate_examples(split, origins)
            for split, origins in self._find().items()
        }

    def _generate_examples(
        self, split: str, origins: Sequence[Origin]
    ) -> Iterator[tuple[str, Any]]:
        shard = Shard(split, tuple(origins), self.cut, 0)
        for name, part in shards.examples(shard, self.left_out):
            yield f"{name}/{part.top}/{part.left}", shards.example(name, part)


def _serialize(
    features: tfds.features.FeaturesDict,
    serializer: example_serializer.ExampleSerializer,
    example: shards.Example,
) -> bytes:
    record = serializer.serialize_example(features.encode_example(example))
    # The same bytes in every process: protocol buffers have no order of their own.
    return tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)


def _in_words(cut: Cut) -> str:
    scales = ", ".join(f"x{scale}" for scale in cut.scales)
    return (
        f"LR images of {scales} ({cut.degradation.label}); training images in sub-images of "
        f"{cut.size}x{cut.size} HR pixels every {cut.step}, validation images whole."
    )


def _listing(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:20])


def _link(source: Path, target: Path) -> None:
    """A second name, or a copy where the file system has no such thing."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS from remarking that a configuration is not one of a fixed list."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
