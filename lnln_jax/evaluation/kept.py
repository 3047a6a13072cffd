"""Measurements that are kept in a folder, so that the same command goes on where it stopped."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lnln_jax.runtime.files import write_file


class Kept:
    """Values by what they were measured of: a file for each, which appears whole or not at all.

    Attributes:
      folder: folder of the files, made with the first; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        """Opens a folder, which need not be there."""
        self.folder = folder

    def get(self, key: Mapping[str, Any]) -> Any | None:
        """Returns the value of a key; None where there is none, or its file is damaged.

        Args:
          key: what makes a difference to the value; JSON can hold it.

        Raises:
          OSError: the file is there and cannot be read.
        """
        if self.folder is None or not (path := self._path(key)).is_file():
            return None
        try:
            entry = json.loads(path.read_bytes())
            return entry["value"] if entry["key"] == key else None
        except (ValueError, LookupError, TypeError):
            return None

    def put(self, key: Mapping[str, Any], value: Any) -> None:
        """Keeps a value.

        Raises:
          OSError: the file cannot be written.
        """
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": key, "value": value}, indent=1)
        write_file(self._path(key), f"{text}\n".encode())

    def _path(self, key: Mapping[str, Any]) -> Path:
        assert self.folder is not None
        text = json.dumps(key, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
