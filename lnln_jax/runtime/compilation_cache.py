"""Compiled programs on disk, so that a command that runs again need not compile again."""

import os
from pathlib import Path

import jax

from lnln_jax.runtime.files import make_folder, printable
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.runtime.progress import remark


def enable_compilation_cache() -> Path | None:
    """Turns on JAX's persistent compilation cache, for programs of any size.

    It lies in `$JAX_COMPILATION_CACHE_DIR`, which may be a bucket (gs://...), or in `lnln_jax/xla`
    below `$XDG_CACHE_HOME` or `~/.cache`. Where nothing can be written, one line on stderr says so.

    Returns:
      The folder; None without one.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR") or f"{caches}/lnln_jax/xla"
    if "://" in chosen:
        _use(chosen)
        return None
    try:
        chosen = local_path(chosen)
        make_folder(Path(chosen))
    except (OSError, ValueError) as error:  # ValueError: there is no home folder
        reason = error.strerror if isinstance(error, OSError) else "there is no home folder"
        remark(
            f"lnln: no compilation cache, {printable(chosen)}: {reason}; "
            "JAX_COMPILATION_CACHE_DIR may name another folder"
        )
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    _use(chosen)
    return Path(chosen)


def _use(place: str) -> None:
    jax.config.update("jax_compilation_cache_dir", place)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
