"""Progress bars on a terminal."""

import sys
from collections.abc import Callable

from tqdm import tqdm


def progress_of(what: str) -> Callable[[int, int], None]:
    """Returns a progress bar for `what`: a function of how many of how many are done.

    Nothing is shown where stderr is not a terminal.
    """
    bar = tqdm(desc=what, leave=False, disable=not sys.stderr.isatty())

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show
