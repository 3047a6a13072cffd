"""Which images make up which shard of a dataset.

A shard is a list of images with settings, and its name is a hash of both. Where one ends and the
next begins depends on the names of the images around, so an image that is mended, removed or added
changes its own shard and at most the next.
"""

import functools
import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from lnln_jax.data.prepare.origins import Origin
from lnln_jax.data.prepare.sub_images import Cut
from lnln_jax.data.records import FORMAT

SHARD_BYTES = 2**26  # about, compressed
_RATIO = 0.65  # of a photograph's PNG to its pixels, with some reserve
_LEAST_SHARDS = 16  # where there are images enough, so that a build that is killed loses little


@dataclass(frozen=True)
class Shard:
    """Contents that a shard is to have.

    Attributes:
      split: "train", of sub-images, or "validation", of whole images.
      origins: images of the shard.
      cut: how they are cut.
      estimate: bytes that it will take, about.
    """

    split: str
    origins: tuple[Origin, ...]
    cut: Cut
    estimate: int

    @functools.cached_property
    def name(self) -> str:
        """Name of its file, without suffix."""
        images = [(origin.name, origin.stamp) for origin in self.origins]
        content = [FORMAT, self.split, self.cut.settings(), images]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return f"{self.split}-{digest[:24]}"


def plan_shards(split: str, origins: Sequence[Origin], cut: Cut) -> list[Shard]:
    """Divides images, in their order, among shards of roughly the same size."""
    estimates = [_estimate(split, origin.shape(), cut) for origin in origins]
    wanted = min(len(origins) / _LEAST_SHARDS, len(origins) * SHARD_BYTES / max(1, sum(estimates)))
    # Images in a shard, on average; a power of two, which one image more or less hardly changes.
    images = 2 ** max(0, math.floor(math.log2(max(1, wanted))))
    shards: list[Shard] = []
    group: list[Origin] = []
    size = 0
    for i, (origin, estimate) in enumerate(zip(origins, estimates, strict=True)):
        group.append(origin)
        size += estimate
        ends = zlib.crc32(repr(origin.name).encode()) % images == 0
        if ends or size > 2 * SHARD_BYTES or i == len(origins) - 1:
            shards.append(Shard(split, tuple(group), cut, size))
            group, size = [], 0
    return shards


def _estimate(split: str, shape: tuple[int, int], cut: Cut) -> int:
    """Estimates the bytes that the records of an image take."""
    height, width = shape
    limit = Image.MAX_IMAGE_PIXELS
    if min(shape) < cut.min_side or (limit is not None and height * width > limit):
        return 0  # it will be left out
    area = cut.area(height, width) if split == "train" else height * width
    lr_share = sum(1 / scale**2 for scale in cut.scales)
    return int(3 * area * (1 + lr_share) * _RATIO)
