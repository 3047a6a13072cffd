"""Pillow's settings and warnings, which belong to the process, held while a file is read."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL
from PIL import Image

_lock = threading.Lock()
_PILLOW = str(Path(PIL.__file__).parent)
_log = logging.getLogger("PIL")


@contextlib.contextmanager
def guarded(max_pixels: int | None, tell: Callable[[str], object]) -> Iterator[int | None]:
    """Has Pillow refuse images with more pixels, and hands over its warnings.

    One thread at a time is in the block, since limit, filters and levels belong to the process.

    Args:
      max_pixels: most pixels; Pillow's usual limit counts where it is larger, or this is None.
      tell: function that gets each warning of Pillow's once, after the block. Those of others go
        their usual way.

    Yields:
      Pillow's usual limit.
    """
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        usual, level = Image.MAX_IMAGE_PIXELS, _log.level
        if usual is not None:
            Image.MAX_IMAGE_PIXELS = max(usual, max_pixels or 0)
        _log.setLevel(logging.CRITICAL)  # what it logs it raises, too
        try:
            yield usual
        finally:
            Image.MAX_IMAGE_PIXELS = usual
            _log.setLevel(level)
    for warning in caught:
        if not warning.filename.startswith(_PILLOW):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    own = [warning for warning in caught if warning.filename.startswith(_PILLOW)]
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in own):
        tell(text)
