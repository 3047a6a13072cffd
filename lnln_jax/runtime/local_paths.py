"""Paths as users write them: with `~`, and now and then an address on the web."""

import os
import re

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # one letter is a drive


def local_path(path: str) -> str:
    """Returns a path with a leading `~` or `~user` replaced, as a shell would.

    A `~name` of no user of this machine stays, since files may be called so.

    Raises:
      ValueError: the path begins with `~` alone, and there is no home folder; or it is an address
        such as https://..., of which `Path` would make the file `https:/...`.
    """
    if _ADDRESS.match(path):
        raise ValueError(
            f"{path!r} is an address, not a path; download it first (curl -LO ADDRESS), and give "
            "the file"
        )
    if not path.startswith("~"):
        return path
    alone = path == "~" or path[1] in (os.sep, os.altsep)
    expanded = os.path.expanduser(path)
    if alone and (expanded == path or os.environ.get("HOME") == ""):
        raise ValueError(
            f"{path!r} begins with ~, but this user has no home folder; set HOME, or write the "
            "whole path"
        )
    return expanded
