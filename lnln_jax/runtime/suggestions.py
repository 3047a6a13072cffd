"""What somebody may have meant who mistyped a name."""

import difflib
from collections.abc import Iterable, Sequence

# Of `difflib.SequenceMatcher.ratio`, from which a name is suggested.
ALIKE, VERY_MUCH_ALIKE = 0.7, 0.85


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Returns the end of a message about an unknown `word`: "; did you mean 'train'?", or "".

    Args:
      word: what was given; upper and lower case are the same here.
      words: what there is.
    """
    return or_else(closest(word, words))


def or_else(alike: Sequence[str]) -> str:
    """Returns the question of `did_you_mean` for names that have been found."""
    if not alike:
        return ""
    *others, last = map(repr, alike)
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def closest(word: str, words: Iterable[str], alike: float = ALIKE) -> list[str]:
    """Returns at most three of `words` that are spelled about as `word`, the closest first.

    Those that are only somewhat alike are among them where no other is more than that.
    """
    by_lower = {known.lower(): known for known in words}
    found: list[str] = []
    for cutoff in (VERY_MUCH_ALIKE, alike):
        found = found or difflib.get_close_matches(word.lower(), by_lower, cutoff=cutoff)
    return [by_lower[lower] for lower in found]
