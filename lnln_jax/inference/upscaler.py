"""The interface of all upscalers.

An upscaler takes images of any size, RGB or gray, uint8 (`upscale`) or float32 (`upscale_float`)
with values in 0..255, and returns its result whole or from top to bottom (`bands`).
"""

import abc
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lnln_jax.images.arguments import check_array, warn_of_unit_range
from lnln_jax.runtime.numbers import whole

DEFAULT_OVERLAP = 16
LARGEST_TILE = 1 << 16  # as much as no network takes at once
_has_warned = False  # of an image in 0..1


class Options(NamedTuple):
    """Arguments of `Upscaler.upscale`, which describes them."""

    self_ensemble: bool = False
    tile: int | None = None
    overlap: int = DEFAULT_OVERLAP
    border: int = 0

    def checked(self) -> "Options":
        """Returns the same with Python's numbers.

        Raises:
          ValueError: one of them is out of its range, or they do not fit.
        """
        overlap, border = (
            whole("overlap", self.overlap, least=0),
            whole("border", self.border, least=0),
        )
        if self.tile is None:
            return Options(self.self_ensemble, None, overlap, border)
        tile = whole("tile", self.tile, least=2, most=LARGEST_TILE)
        if tile < 2 * overlap:
            raise ValueError(
                f"tile must be at least twice the overlap, got tile {tile} with overlap {overlap}; "
                "use a larger tile or a smaller overlap"
            )
        return Options(self.self_ensemble, tile, overlap, border)


class Upscaler(abc.ABC):
    """A method that upscales images: a network with its weights, or bicubic interpolation.

    Attributes:
      name: name in tables and messages.
      scale: whole factor by which it upscales.
      module: Flax module of the network, or None.
      variables: first argument of `module.apply`; empty without a network.
    """

    name: str
    scale: int
    module: Any
    variables: Mapping[str, Any]

    def upscale(
        self,
        lr: np.ndarray,
        *,
        self_ensemble: bool = False,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
        border: int = 0,
    ) -> np.ndarray:
        """Upscales a uint8 image.

        Args:
          lr: uint8 image, `H W 3`, or gray as `H W 1` or `H W`.
          self_ensemble: whether to average over the eight mirrorings and rotations of the input
            ("+" in tables), which takes eight times the work.
          tile: side, in LR pixels, of the squares in which the image is upscaled, so that the
            network's memory does not grow with the image and one program serves all sizes; a
            shorter side is mirrored until it fills a tile. A tile that the network can't take is
            enlarged until it can. None takes the image whole.
          overlap: LR pixels that neighbouring tiles share; half of them are discarded on either
            side of a seam. The result is that of the whole image if no output pixel depends on
            inputs more than `overlap // 2` away, and no side is shorter than a tile. With the
            default the networks here come close: VDSR and EDSR see farther
            (`models.complexity.receptive_field`), the attention of the others everything.
          border: LR pixels by which the image is mirrored beyond its edges; what comes of them is
            left out. With 0, as in published tables, convolutions see zeros there, that is black
            or the mean colour, and the outermost pixels become darker, paler or less sharp.

        Returns:
          `H*scale W*scale` with the channel axis of the input, uint8.

        Raises:
          ValueError: `lr` has another dtype or shape or no pixels, or `tile` does not fit
            `overlap`.
        """
        _check_image("lr", lr, (np.uint8,))
        return self._whole(lr, Options(self_ensemble, tile, overlap, border))

    def upscale_float(
        self,
        x: np.ndarray,
        *,
        self_ensemble: bool = False,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
        border: int = 0,
    ) -> np.ndarray:
        """Upscales a float32 image in 0..255 as `upscale` does, but neither rounds nor clips.

        The first image that looks as if it were in 0..1 gets a warning.
        """
        _check_image("x", x, (np.float32,))
        _warn_once_of_unit_range(x=x)
        return self._whole(x, Options(self_ensemble, tile, overlap, border))

    def bands(
        self,
        lr: np.ndarray,
        *,
        self_ensemble: bool = False,
        tile: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
        border: int = 0,
    ) -> Iterator[np.ndarray]:
        """Upscales an image from top to bottom, so that its result need not be held whole.

        Args:
          lr: image as for `upscale`, uint8, float32 in 0..255, or uint16 with 257 times as much.
          self_ensemble: as for `upscale`.
          tile: as for `upscale`; a network without tiles makes one band of the whole image.
          overlap: as for `upscale`.
          border: as for `upscale`.

        Returns:
          An iterator of bands `h W*scale ...`, in the dtype of `lr` and with its channel axis.
          Their heights may differ. One below the other they are the result of `upscale` or
          `upscale_float`, or of the latter as uint16. Computing begins with the first band.

        Raises:
          ValueError: as for `upscale`, before there is an iterator.
        """
        _check_image("lr", lr, (np.uint8, np.uint16, np.float32))
        if lr.dtype == np.float32:
            _warn_once_of_unit_range(lr=lr)
        return self._checked_bands(lr, Options(self_ensemble, tile, overlap, border))

    def tile_for(self, tile: int | None) -> int | None:
        """Returns the side of the tiles that are cut for `tile`; None: images are taken whole."""
        return None

    def compile(self, shape: tuple[int, ...], *, self_ensemble: bool = False) -> int:
        """Compiles the programs for whole images of a shape, which `upscale` does where it must.

        Args:
          shape: shape of the LR image, `(H, W, ...)`.
          self_ensemble: whether `upscale` will be called with it.

        Returns:
          The peak memory in bytes, arguments and results included, that the compiler plans for
          one pass; 0 where nothing is compiled, or the compiler does not tell.
        """
        return 0

    def _checked_bands(self, image: np.ndarray, options: Options) -> Iterator[np.ndarray]:
        options = options.checked()
        image = np.asarray(image)  # of a JAX array
        if image.ndim == 2:
            return (band[..., 0] for band in self._bands(image[..., None], options))
        return self._bands(image, options)

    def _whole(self, image: np.ndarray, options: Options) -> np.ndarray:
        bands = self._checked_bands(image, options)
        band = next(bands)
        height = image.shape[0] * self.scale
        if len(band) == height:
            return band
        sr = np.empty((height, *band.shape[1:]), band.dtype)
        start = 0
        for part in itertools.chain([band], bands):
            sr[start : start + len(part)] = part
            start += len(part)
        return sr

    @abc.abstractmethod
    def _bands(self, image: np.ndarray, options: Options) -> Iterator[np.ndarray]:
        """Yields `bands` of an image `H W C`; the arguments have been checked."""


def _warn_once_of_unit_range(**images: np.ndarray) -> None:
    """Warns the caller of a method here, but not again at every frame of a video."""
    global _has_warned
    _has_warned = _has_warned or warn_of_unit_range(stacklevel=3, **images)


def _check_image(name: str, image: np.ndarray, dtypes: tuple[type, ...]) -> None:
    check_array(name, image)
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            f"the image must have shape (H, W, 3), (H, W, 1) or (H, W), got {image.shape}; "
            "drop alpha, and take the images of a batch one by one"
        )
    if image.dtype not in dtypes:
        names = " or ".join(dtype.__name__ for dtype in dtypes)
        raise ValueError(
            f"the image must be {names} with values in 0..255, got {image.dtype}; "
            "upscale takes uint8, upscale_float takes float32, bands also uint16"
        )
    if image.size == 0:
        height, width = image.shape[:2]
        raise ValueError(f"the image is {width}x{height} pixels; give one of at least 1x1")
