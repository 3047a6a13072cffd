"""Compiled programs on disk, so that a command that runs again need not compile again."""

import os
import sys
from pathlib import Path

import jax

from lnln_jax.runtime.files import make_folder


def enable_compilation_cache() -> Path | None:
    """Turns on JAX's persistent compilation cache, for programs of any size.

    It lies in `$JAX_COMPILATION_CACHE_DIR`, or in `lnln_jax/xla` below `$XDG_CACHE_HOME` or
    `~/.cache`. Where nothing can be written, one line on stderr says so.

    Returns:
      The folder; None without a cache.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR") or f"{caches}/lnln_jax/xla"
    folder = Path(chosen).expanduser()
    try:
        make_folder(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        reason = getattr(error, "strerror", None) or error
        print(f"lnln: no compilation cache, {folder}: {reason}", file=sys.stderr)
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
