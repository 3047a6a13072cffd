"""Names of files for what is called otherwise: images, benchmarks and models."""

import hashlib
import re
import sys
from collections.abc import Sequence

from lnln_jax.runtime.files import printable

_LONGEST = 200  # bytes of UTF-8; most file systems take 255, of which others add some
_HASH = 8
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]| $|\.$' if sys.platform == "win32" else "/")


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Returns names of files, without suffix, for distinct names.

    What is short and harmless stays as it is. What is too long, has characters that file systems
    refuse, or differs from a name before it in upper and lower case alone, ends in a hash.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        shown = _FORBIDDEN.sub("_", printable(name))
        if (
            shown != name
            or shown in ("", ".", "..")
            or len(shown.encode()) > _LONGEST
            or shown.casefold() in taken
        ):
            kept = shown.encode()[: _LONGEST - _HASH - 1].decode(errors="ignore")
            digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
            shown = f"{kept}_{digest[:_HASH]}"
        taken.add(shown.casefold())
        chosen[name] = shown
    return chosen


def file_name(name: str) -> str:
    """Returns the name of a file, without suffix, for one name."""
    return file_names([name])[name]
