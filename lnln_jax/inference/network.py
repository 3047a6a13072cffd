"""Upscaling with a network.

Every new image shape costs a compilation; with `tile` there is one shape for all images.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lnln_jax.images.arrays import (
    Y_WEIGHTS,
    dihedral,
    from_float32,
    inverse_dihedral,
    rgb_to_ycbcr,
    to_float32,
    ycbcr_to_rgb,
)
from lnln_jax.images.products import quiet_products
from lnln_jax.images.resize import imresize
from lnln_jax.inference.tiling import mirrored, tiled_bands
from lnln_jax.inference.upscaler import Options, Upscaler
from lnln_jax.models import input_channels, least_side, window

# Tiles computed at once, by device. A CPU is busy with one, and a second is no longer in its cache.
# For accelerators it is a guess: 16 tiles of 96 pixels are as many as a training batch has.
TILE_BATCHES = {"cpu": 1}
TILE_BATCH = 16

# Studio-range luma is a multiple of this: psnr_y of the gray result equals that of the RGB result.
_GRAY_WEIGHTS = np.array(Y_WEIGHTS, np.float32) / np.float32(sum(Y_WEIGHTS))


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkUpscaler(Upscaler):
    """A network with its weights.

    A gray image goes through the network as RGB with equal channels. The gray of the result is
    its BT.601 luma, 0.299 R + 0.587 G + 0.114 B. A network of luma alone (VDSR) gets the Y of
    YCbCr, and bicubic interpolation upscales Cb and Cr.

    Attributes:
      name: name in tables and messages.
      scale: factor of the network.
      module: Flax module; `module.apply(variables, x)` takes float32 `B H W C` in 0..255, C being
        `input_channels(module)`, and returns `B H*scale W*scale C`.
      variables: weights of the network, `{"params": ..., ...}`.
      tile_batch: number of tiles computed at once; None for `TILE_BATCHES` of the device.
    """

    name: str
    scale: int
    module: Any
    variables: Mapping[str, Any] = dataclasses.field(repr=False)
    tile_batch: int | None = None

    def tile_for(self, tile: int | None) -> int | None:
        """Returns the least side that is not below `tile`, as `Upscaler.tile_for` says."""
        if tile is None:
            return None
        size = window(self.module)
        return -(-max(tile, least_side(self.module)) // size) * size

    def compile(self, shape: tuple[int, ...], *, self_ensemble: bool = False) -> int:
        """Compiles as `Upscaler.compile` says."""
        height, width, channels = *map(self._padded, shape[:2]), input_channels(self.module)
        shapes = {(1, height, width, channels)}
        if self_ensemble:
            shapes.add((1, width, height, channels))
        return max(_peak_memory(self._program(each)) for each in shapes)

    def _padded(self, side: int) -> int:
        """Returns the side that a network gets of an image: not too short, and whole windows.

        Windows are filled up as the test script of SwinIR does it, so always by at least a pixel.
        """
        side, size = max(side, least_side(self.module)), window(self.module)
        return side if size == 1 else (side // size + 1) * size

    def _bands(self, image: np.ndarray, options: Options) -> Iterator[np.ndarray]:
        upscale = functools.partial(self._upscale, self_ensemble=options.self_ensemble)
        border = options.border
        if (tile := self.tile_for(options.tile)) is not None:
            yield from tiled_bands(
                functools.partial(upscale, forward=self._forward),
                image,
                scale=self.scale,
                tile=tile,
                overlap=options.overlap,
                batch=self.tile_batch or TILE_BATCHES.get(jax.default_backend(), TILE_BATCH),
                border=border,
            )
            return
        height, width = image.shape[:2]
        seen = [side + 2 * border for side in (height, width)]
        whole = mirrored(image, -border, -border, *seen)
        sr = upscale(whole[None], forward=self._forward_filled)[0]
        inner = (
            slice(border * self.scale, (border + side) * self.scale) for side in (height, width)
        )
        yield sr[tuple(inner)]

    def _upscale(
        self, images: np.ndarray, *, forward: "Forward", self_ensemble: bool
    ) -> np.ndarray:
        """Upscales `B H W 1` or `B H W 3`, keeping channels and dtype."""
        x = to_float32(images)
        rgb = np.broadcast_to(x, (*x.shape[:3], 3))
        if self_ensemble:
            forward = functools.partial(_self_ensemble, forward)
        if input_channels(self.module) == 1:
            ycbcr = rgb_to_ycbcr(rgb)
            chroma = np.stack([imresize(each, self.scale) for each in ycbcr[..., 1:]])
            sr = ycbcr_to_rgb(np.concatenate([forward(ycbcr[..., :1]), chroma], axis=-1))
        else:
            sr = forward(rgb)
        if x.shape[3] == 1:
            with quiet_products():
                sr = (sr @ _GRAY_WEIGHTS)[..., None]
        return from_float32(sr, images.dtype)

    def _program(self, shape: tuple[int, ...]) -> jax.stages.Compiled:
        leaves, structure = jax.tree.flatten(self.variables)
        kinds = [
            jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None))
            for x in leaves
        ]
        return _compile(self.module, structure, tuple(kinds), shape)

    def _forward_filled(self, x: np.ndarray) -> np.ndarray:
        """Applies the network to `B H W C`, mirrored up to sides that it takes."""
        height, width = x.shape[1:3]
        filled = [mirrored(image, 0, 0, self._padded(height), self._padded(width)) for image in x]
        return self._forward(np.stack(filled))[:, : height * self.scale, : width * self.scale]

    def _forward(self, x: np.ndarray) -> np.ndarray:
        """Applies the network to float32 `B H W C`."""
        sr = np.array(self._program(x.shape)(self.variables, x))  # writable
        height, width, channels = x.shape[1:]
        expected = (height * self.scale, width * self.scale, channels)
        if sr.shape[1:] != expected:
            raise ValueError(
                f"the network of {self.name} made {sr.shape[1:]} of {x.shape[1:]}, not {expected}; "
                f"scale is {self.scale}: give the scale of the network"
            )
        if not np.isfinite(sr).all():
            raise ValueError(
                f"the network of {self.name} returned NaN or infinity; its weights are damaged "
                "(or the image is: pixels must be finite)"
            )
        return sr


@functools.lru_cache(maxsize=256)
def _compile(module: Any, structure: Any, leaves: tuple, shape: tuple) -> jax.stages.Compiled:
    """Compiles a network for images `B H W C`, once also for several upscalers of equal modules."""
    image = jax.ShapeDtypeStruct(shape, np.float32)
    return jax.jit(module.apply).lower(jax.tree.unflatten(structure, leaves), image).compile()


def _peak_memory(program: jax.stages.Compiled) -> int:
    memory = program.memory_analysis()
    if memory is None:  # not every backend tells
        return 0
    parts = ("argument", "output", "temp")
    return sum(getattr(memory, f"{part}_size_in_bytes") for part in parts)


Forward = Callable[[np.ndarray], np.ndarray]  # float32 B H W C -> B H*scale W*scale C


def _self_ensemble(forward: Forward, x: np.ndarray) -> np.ndarray:
    """Returns the mean over the eight symmetries, each result turned back."""
    total = forward(x)
    for index in range(1, 8):
        total = total + inverse_dihedral(forward(dihedral(x, index)), index)
    return total / np.float32(8)
