"""`python -m lnln_jax.cli` is the command `lnln`."""

import sys

from lnln_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
