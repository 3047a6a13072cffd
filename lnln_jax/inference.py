"""Upscales one image with a trained network, or with bicubic interpolation.

A resolver takes images of any size, RGB or gray, uint8 (`upscale`) or float32 (`upscale_float`),
values in 0..255. `SuperResolver` and `Bicubic` are used alike. Every new image shape costs a
compilation; with `tile` there is one shape for all images that are larger than a tile.
"""

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from lnln_jax.image import (
    Y_WEIGHTS,
    dihedral,
    inverse_dihedral,
    rgb_to_ycbcr,
    to_uint8,
    ycbcr_to_rgb,
)
from lnln_jax.models import input_channels
from lnln_jax.resize import imresize

DEFAULT_OVERLAP = 16

# Studio-range luma is a multiple of this: psnr_y of the gray result equals that of the RGB result.
_GRAY_WEIGHTS = np.array(Y_WEIGHTS, np.float32) / np.float32(sum(Y_WEIGHTS))


class Resolver(abc.ABC):
    """What upscales images.

    Attributes:
      name: how tables and messages call it.
      scale: the factor by which it enlarges, an integer.
      module: the network, or None.
      variables: what `module.apply` takes first; empty without a network.
      min_size: the shortest side it takes, in pixels.
      uses_tiles: whether `tile` makes a difference.
    """

    name: str
    scale: int
    module: Any
    variables: Mapping[str, Any]
    min_size: ClassVar[int] = 1
    uses_tiles: ClassVar[bool] = False

    def upscale(
        self,
        lr: np.ndarray,
        self_ensemble: bool = False,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
    ) -> np.ndarray:
        """Upscales a uint8 image.

        Args:
          lr: `H W 3`, or gray as `H W 1` or `H W`; uint8.
          self_ensemble: average over the eight mirrorings and rotations of the input ("+" in
            tables): eight times the work.
          tile: upscale squares of this many LR pixels a side one after the other, so that memory
            does not grow with the image; None takes the image whole.
          overlap: LR pixels that neighbouring tiles share; half of it is discarded on either side
            of a seam. The result is that of the whole image if no output pixel depends on inputs
            more than `overlap // 2` away. With the default the networks here come close: VDSR and
            EDSR see farther (`complexity.receptive_field`), the attention of the others everything.

        Returns:
          `H*scale W*scale` with the channel axis of the input, uint8.

        Raises:
          ValueError: `lr` has another dtype or shape or too few pixels, or `tile` does not fit
            `overlap`.
        """
        _check_image(lr, np.uint8, self)
        _check_tile(tile, overlap)
        return self._enlarge(lr, self_ensemble, tile, overlap)

    def upscale_float(
        self,
        x: np.ndarray,
        self_ensemble: bool = False,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
    ) -> np.ndarray:
        """`upscale` for float32 images in 0..255; the result is neither rounded nor clipped."""
        _check_image(x, np.float32, self)
        _check_tile(tile, overlap)
        return self._enlarge(x, self_ensemble, tile, overlap)

    def compile(self, shape: tuple[int, ...], self_ensemble: bool = False) -> int:
        """Compiles what whole images of a shape need; `upscale` does so itself where it must.

        Args:
          shape: `(H, W, ...)` of the LR image.
          self_ensemble: whether `upscale` is going to be called with it.

        Returns:
          The peak memory in bytes, arguments and results included, that the compiler plans for
          one pass; 0 where nothing is compiled, or the compiler does not tell.
        """
        return 0

    @abc.abstractmethod
    def _enlarge(
        self, image: np.ndarray, self_ensemble: bool, tile: int | None, overlap: int
    ) -> np.ndarray:
        """uint8 to uint8 or float32 to float32; the arguments have been checked."""


@dataclasses.dataclass(frozen=True, eq=False)
class SuperResolver(Resolver):
    """A network with its weights.

    A gray image goes through the network as RGB with equal channels. The gray of the result is
    its BT.601 luma, 0.299 R + 0.587 G + 0.114 B. A network of luma alone (VDSR) gets the Y of
    YCbCr, and bicubic interpolation enlarges Cb and Cr.

    Attributes:
      name: how tables and messages call it.
      scale: the factor by which the network enlarges.
      module: Flax module; `module.apply(variables, x)` takes float32 `1 H W C` in 0..255, C being
        `input_channels(module)`, and returns `1 H*scale W*scale C`.
      variables: its weights, `{"params": ..., ...}`.
    """

    name: str
    scale: int
    module: Any
    variables: Mapping[str, Any] = dataclasses.field(repr=False)
    min_size: ClassVar[int] = 2
    uses_tiles: ClassVar[bool] = True

    def compile(self, shape: tuple[int, ...], self_ensemble: bool = False) -> int:
        """See `Resolver.compile`."""
        height, width, channels = *shape[:2], input_channels(self.module)
        shapes = {(height, width, channels)}
        if self_ensemble:
            shapes.add((width, height, channels))
        return max(_peak_memory(self._program(each)) for each in shapes)

    def _enlarge(
        self, image: np.ndarray, self_ensemble: bool, tile: int | None, overlap: int
    ) -> np.ndarray:
        if image.dtype == np.uint8:
            x = image.astype(np.float32)
            return to_uint8(self._enlarge(x, self_ensemble, tile, overlap))
        rgb = image if image.ndim == 3 else image[..., None]
        rgb = np.broadcast_to(rgb, (*rgb.shape[:2], 3))

        forward: Forward = self._forward
        if tile is not None:
            forward = functools.partial(_in_tiles, forward, self.scale, tile, overlap)
        if self_ensemble:
            forward = functools.partial(_self_ensemble, forward)
        if input_channels(self.module) == 1:
            ycbcr = rgb_to_ycbcr(rgb)
            chroma = imresize(ycbcr[..., 1:], self.scale)
            sr = ycbcr_to_rgb(np.concatenate([forward(ycbcr[..., :1]), chroma], axis=-1))
        else:
            sr = forward(rgb)

        if image.ndim == 2:
            return sr @ _GRAY_WEIGHTS
        return sr if image.shape[2] == 3 else (sr @ _GRAY_WEIGHTS)[..., None]

    def _program(self, shape: tuple[int, ...]) -> jax.stages.Compiled:
        leaves, structure = jax.tree.flatten(self.variables)
        kinds = [
            jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None))
            for x in leaves
        ]
        return _compile(self.module, structure, tuple(kinds), shape)

    def _forward(self, x: np.ndarray) -> np.ndarray:
        """Applies the network to float32 `H W C`."""
        sr = np.array(self._program(x.shape)(self.variables, x[None]))[0]  # writable
        expected = (x.shape[0] * self.scale, x.shape[1] * self.scale, x.shape[2])
        if sr.shape != expected:
            raise ValueError(
                f"the network of {self.name} made {sr.shape} of {x.shape}, not {expected}; "
                f"scale is {self.scale}: give the scale of the network"
            )
        if not np.isfinite(sr).all():
            raise ValueError(
                f"the network of {self.name} returned NaN or infinity; its weights are damaged "
                "(or the image is: pixels must be finite)"
            )
        return sr


@dataclasses.dataclass(frozen=True, eq=False)
class Bicubic(Resolver):
    """MATLAB's bicubic interpolation, as the baseline that stands where a network does.

    It needs no tiles, and its self-ensemble is itself: both options change nothing.
    """

    scale: int
    name: str = "bicubic"
    module: None = None
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def _enlarge(
        self, image: np.ndarray, self_ensemble: bool, tile: int | None, overlap: int
    ) -> np.ndarray:
        return imresize(image, self.scale)


@functools.lru_cache(maxsize=256)
def _compile(module: Any, structure: Any, leaves: tuple, shape: tuple) -> jax.stages.Compiled:
    """Compiles a network for images `H W C`, once also for several resolvers of equal modules."""
    image = jax.ShapeDtypeStruct((1, *shape), np.float32)
    return jax.jit(module.apply).lower(jax.tree.unflatten(structure, leaves), image).compile()


def _peak_memory(program: jax.stages.Compiled) -> int:
    memory = program.memory_analysis()
    if memory is None:  # not every backend tells
        return 0
    parts = ("argument", "output", "temp")
    return sum(getattr(memory, f"{part}_size_in_bytes") for part in parts)


Forward = Callable[[np.ndarray], np.ndarray]  # float32 H W 3 -> H*scale W*scale 3


def _self_ensemble(forward: Forward, x: np.ndarray) -> np.ndarray:
    """Returns the mean over the eight symmetries, each result turned back."""
    total = forward(x)
    for index in range(1, 8):
        total = total + inverse_dihedral(forward(dihedral(x, index)), index)
    return total / np.float32(8)


def _in_tiles(forward: Forward, scale: int, tile: int, overlap: int, x: np.ndarray) -> np.ndarray:
    """Applies `forward` to `x` in squares of `tile` pixels, one at a time."""
    height, width, channels = x.shape
    sr = np.empty((height * scale, width * scale, channels), np.float32)
    spans = itertools.product(_spans(height, tile, overlap), _spans(width, tile, overlap))
    for (top, y_start, y_stop), (left, x_start, x_stop) in spans:
        part = forward(x[top : top + tile, left : left + tile])
        sr[y_start * scale : y_stop * scale, x_start * scale : x_stop * scale] = part[
            (y_start - top) * scale : (y_stop - top) * scale,
            (x_start - left) * scale : (x_stop - left) * scale,
        ]
    return sr


def _spans(size: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int]]:
    """Cuts one axis: yields (where the tile begins, what it decides: start, stop).

    The last tile is moved inwards to end with the axis, so all have the same size, the whole axis
    if that is shorter than a tile. Seams run through the middle of the shared pixels.
    """
    begins = [*range(0, max(size - tile, 0), tile - overlap), max(size - tile, 0)]
    seams = [(begin + previous + tile) // 2 for previous, begin in itertools.pairwise(begins)]
    yield from zip(begins, [0, *seams], [*seams, size], strict=True)


def _check_image(image: np.ndarray, dtype: type, resolver: Resolver) -> None:
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            f"the image must have shape (H, W, 3), (H, W, 1) or (H, W), got {image.shape}; "
            "drop alpha, and take the images of a batch one by one"
        )
    if image.dtype != dtype:
        raise ValueError(
            f"the image must be {np.dtype(dtype)} with values in 0..255, got {image.dtype}; "
            "upscale takes uint8, upscale_float takes float32"
        )
    height, width = image.shape[:2]
    if min(height, width) < resolver.min_size:
        raise ValueError(
            f"the image is {width}x{height} pixels; {resolver.name} takes at least "
            f"{resolver.min_size} a side"
        )


def _check_tile(tile: int | None, overlap: int) -> None:
    if overlap < 0:
        raise ValueError(f"overlap must be at least 0, got {overlap}")
    if tile is not None and tile < max(2 * overlap, 2):
        raise ValueError(
            f"tile must be at least 2 and twice the overlap, got tile {tile} with overlap "
            f"{overlap}; use a larger tile or a smaller overlap"
        )
