"""Pillow's settings and warnings, which belong to the process, held while a file is read."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
      tell: function that gets each warning of Pillow's in this thread once, after the block. All
        others go their usual way.

    Yields:
      Pillow's usual limit.
    """
    told: dict[str, None] = {}
    thread, usual_way = threading.get_ident(), warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], filename: str, *more: Any, **options: Any
    ) -> None:
        if threading.get_ident() == thread and filename.startswith(_PILLOW):
            told[" ".join(str(message).split())] = None
        else:
            usual_way(message, category, filename, *more, **options)

    with _lock, warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.showwarning = show
        usual, level = Image.MAX_IMAGE_PIXELS, _log.level
        if usual is not None:
            Image.MAX_IMAGE_PIXELS = max(usual, max_pixels or 0)
        _log.setLevel(logging.CRITICAL)  # what it logs it raises, too
        try:
            yield usual
        finally:
            Image.MAX_IMAGE_PIXELS = usual
            _log.setLevel(level)
    for text in told:
        tell(text)
