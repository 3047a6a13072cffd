"""TFDS datasets of HR images with their LR images, built without TensorFlow.

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
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer
from tensorflow_datasets.proto import tf_example_pb2

from lnln_jax.data.prepare import shards
from lnln_jax.data.prepare.assemble import assemble
from lnln_jax.data.prepare.origins import Origin
from lnln_jax.data.prepare.shard_plan import Shard, plan_shards
from lnln_jax.data.prepare.sub_images import Cut
from lnln_jax.runtime.files import free_space
from lnln_jax.runtime.processes import exclusive

_VERSION = "1.0.0"
_RESERVE = 2**26  # bytes that are to stay free


@dataclasses.dataclass(frozen=True)
class Description:
    """Description of a dataset."""

    text: str
    homepage: str = ""
    citation: str = ""
    license: str = ""


class _Info(tfds.core.DatasetInfo):
    """Information on a dataset that Google's servers know nothing of."""

    def initialize_from_bucket(self) -> None:
        """Asks nobody; TFDS would, and leave an empty folder behind."""


class SubImages(  # type: ignore[call-arg]  # TFDS has no types, so mypy knows no keyword
    tfds.core.DatasetBuilder, skip_registration=True
):
    """Builds one dataset; `download_and_prepare` is restartable, unlike that of TFDS.

    Attributes:
      cut: how images are cut.
      left_out: images that could not be used, and why; known after the build.
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
        """Describes the dataset; nothing is read yet.

        Args:
          name: name of lower-case letters, digits and underscores, a letter first.
          find: function that returns the images of each of `SPLITS`, downloaded where needed.
          fixed: whether these are always the same, so that they need not be found to know that a
            dataset is there.
          cut: how images are cut.
          description: description of the dataset.
          data_dir: folder of TFDS datasets.
          on_bad_image: "skip" leaves images out that can't be used; "stop" ends the build.
          workers: number of processes that build.
          progress: function called with (images done, images in all).

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
            super().__init__(data_dir=data_dir, config=config)
        self.info.set_file_format("array_record")

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
        """Builds the dataset, or goes on with a build that was interrupted.

        The dataset appears in its place when it is complete. If it is there already and was built
        from the same images with the same settings, nothing happens.

        Raises:
          ValueError: there is one of the same name of other images or settings, no image can be
            used, another process builds it, or (with on_bad_image="stop") an image can't be used.
          OSError: not enough space on the disk, or it can't be written.
        """
        target = self._folders()[0]
        with exclusive(target.parent, f"building {self.name}"):
            if self._fixed and target.exists():
                self._check_same(target, None)
            else:
                self._download_and_prepare()

    def _download_and_prepare(self, dl_manager: Any = None, download_config: Any = None) -> None:
        target, work = self._folders()
        planned = [
            shard
            for split, origins in self._find().items()
            if origins
            for shard in plan_shards(split, origins, self.cut)
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
        features = self.info.features
        serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
        reports = shards.write_shards(
            parts,
            planned,
            functools.partial(_serialize, features, serializer),
            stop=self._stop,
            workers=self._workers,
            progress=self._progress,
        )
        written = list(zip(planned, reports, strict=True))
        for report in reports:
            self.left_out |= report.left_out
        if not any(report.examples for shard, report in written if shard.split == "train"):
            shutil.rmtree(work)
            raise ValueError(
                "none of the images for training can be used, so nothing was built: "
                f"{_listing(self.left_out) or 'there are none'}"
            )
        assemble(
            work / "data",
            parts,
            written,
            info=self.info,
            settings=self.cut.settings(),
            plan=plan,
            left_out=self.left_out,
        )
        (work / "data").rename(target)
        shutil.rmtree(work)
        self.info.update_data_dir(str(target))

    def _folders(self) -> tuple[Path, Path]:
        """Returns the folder of the dataset, and that of what there is of it while it is built."""
        target = Path(self.data_dir)
        return target, target.with_name(f"incomplete.{target.name}")

    def _as_dataset(self, *_: Any, **__: Any) -> Any:
        """Refuses, as TFDS requires of it: `tf.data` can't read ArrayRecord files."""
        raise NotImplementedError("use as_data_source")

    def _check_same(self, target: Path, plan: str | None) -> None:
        """Refuses to take another dataset for this one; without a plan, one of other settings."""
        try:
            metadata = json.loads((target / "metadata.json").read_text())
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{target} is not a dataset of `lnln prepare`, or is damaged ({error}); remove it, "
                "or choose another name"
            ) from error
        expected = {"plan": plan} if plan else self.cut.settings()
        if expected != {key: metadata.get(key) for key in expected}:
            raise ValueError(
                f"{target} is a dataset of other images or settings; choose another name, or "
                "remove that folder"
            )
        self.left_out = metadata["left_out"]

    def _check_same_build(self, parts: Path, planned: Sequence[Shard]) -> None:
        """Refuses to throw away what another build has done."""
        done = {path.stem for path in parts.glob("*.json")}
        if done and not done & {shard.name for shard in planned}:
            raise ValueError(
                f"{parts.parent} is an unfinished dataset of other images or settings; choose "
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
        free = free_space(parts)
        if needed + _RESERVE > free:
            raise OSError(
                f"not enough space in {self.data_dir}: about {needed / 1e9:.2f} GB are needed and "
                f"{free / 1e9:.2f} GB are free; make room, choose another data_dir, fewer scales "
                "or a larger step"
            )


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
