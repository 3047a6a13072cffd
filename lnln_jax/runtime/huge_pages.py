"""Memory in huge pages, for the large temporary arrays of XLA's CPU backend."""

import os
import sys

_TUNABLES = "GLIBC_TUNABLES"


def restart_with_huge_pages() -> None:
    """Restarts this command so that glibc's malloc asks Linux for huge pages; call it first of all.

    A training step allocates hundreds of MiB and gives them back. In pages of 4 KiB the kernel
    spends a fifth of the time of LNLN's step on clearing and mapping them. The C library reads this
    setting only as a process starts. Nothing happens on other systems, or where `GLIBC_TUNABLES`
    is set.
    """
    if sys.platform != "linux" or _TUNABLES in os.environ or not sys.orig_argv[1:]:
        return
    environment = os.environ | {_TUNABLES: "glibc.malloc.hugetlb=1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
