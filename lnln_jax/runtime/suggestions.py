"""What somebody may have meant who mistyped a name."""

import difflib
from collections.abc import Iterable

_ALIKE = 0.7  # of `difflib.SequenceMatcher.ratio`, from which a name is suggested


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Returns the end of a message about an unknown `word`: "; did you mean 'train'?", or "".

    Args:
      word: what was given; upper and lower case are the same here.
      words: what there is.
    """
    alike = closest(word, words)
    if not alike:
        return ""
    *others, last = map(repr, alike)
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def closest(word: str, words: Iterable[str], alike: float = _ALIKE) -> list[str]:
    """Returns at most three of `words` that are spelled about as `word`, the closest first."""
    by_lower = {known.lower(): known for known in words}
    found = difflib.get_close_matches(word.lower(), by_lower, cutoff=alike)
    return [by_lower[lower] for lower in found]
