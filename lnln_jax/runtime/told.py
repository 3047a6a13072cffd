"""Results in a line for people, and in facts for programs."""

from typing import Any


class Told(str):
    """A text on what was done, which knows the same as values that JSON can hold.

    Attributes:
      facts: values by name, with the unit in the name of a number.
    """

    facts: dict[str, Any]

    def __new__(cls, text: str, **facts: Any) -> "Told":
        """Makes the text."""
        told = super().__new__(cls, text)
        told.facts = facts
        return told
