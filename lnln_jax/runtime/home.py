"""The home folders that `~` stands for."""

import os


def expand_home(path: str) -> str:
    """Returns a path with a leading `~` or `~user` replaced, as a shell would.

    A `~name` of no user of this machine stays, since files may be called so.

    Raises:
      ValueError: the path begins with `~` alone, and there is no home folder.
    """
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
