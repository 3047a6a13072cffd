"""The `lnln` command."""

from lnln_jax.cli.command import main

__all__ = ["main"]
