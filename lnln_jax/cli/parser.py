"""The parser of `lnln` and of its commands."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from lnln_jax.runtime.suggestions import VERY_MUCH_ALIKE, closest, did_you_mean, or_else


class Parser(argparse.ArgumentParser):
    """A parser that takes options and positionals in any order, and guesses nothing.

    An option has one value or none; with `nargs="?"` it has the word after it only where its type
    takes that word. An option given twice is an error unless it is made with `action="append"`, or
    is a flag; so are empty words, and abbreviations, whose meaning a new option would change.

    Where there is a positional `overrides`, an unknown `--key=value` is one of them.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        """Makes a parser, with `--quiet`.

        Args:
          *args: as of `ArgumentParser`.
          examples: lines for the end of the help.
          **options: as of `ArgumentParser`.
        """
        super().__init__(*args, **options | {"allow_abbrev": False})
        self._examples = examples
        self.add_argument(
            "-q",
            "--quiet",
            action="store_true",
            default=argparse.SUPPRESS,  # that of a command must not undo `lnln --quiet`
            help="no progress and no remarks",
        )

    def format_help(self) -> str:
        """Returns the help, with the examples at its end."""
        examples = "".join(f"\n  {line}" for line in self._examples)
        return super().format_help() + (f"\nexamples:{examples}\n" if examples else "")

    def parse_known_args(  # type: ignore[override]  # of overloads, for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parses words in any order; those of a wrong call end the process with status 2."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            words = self._in_order(words)
        else:
            self._check_command(words)
        parsed, rest = super().parse_known_args(words, namespace)
        if rest:
            unused = " ".join(repr(word) for word in rest if word != "--")
            self.error(f"there is no use for {unused}; leave it out")
        return parsed, rest

    def _check_command(self, words: Sequence[str]) -> None:
        """Refuses what stands before a command and is no option; prints help where there is none.

        The status is then 2, as for any incomplete call, so that a script sees it.
        """
        for word in words:
            if not word.startswith("-"):
                self._check_filled("command", word)
                return
            self._option(word)
        if not {"-h", "--help", "--version"} & {*words}:
            self.print_help(sys.stderr)
            self.exit(2)

    def _in_order(self, words: Sequence[str]) -> list[str]:
        """Returns the options, each in one word with its value, then "--" and positionals."""
        options: list[str] = []
        positionals: list[str] = []
        overrides: list[str] = []
        values: dict[str, str] = {}
        left = list(words)
        while left:
            word = left.pop(0)
            if word == "--":
                positionals += left
                break
            if self._is_override(word):
                overrides.append(word)
                continue
            if word == "-" or not word.startswith("-"):
                positionals.append(word)
                continue
            action, value = self._option(word)
            name = action.option_strings[-1]
            if action.nargs == 0:
                if value:
                    left.insert(0, f"-{value}")  # -qx is -q -x
            else:
                value = self._value(action, name, value, left)
            if action.nargs == 0 or value is None:
                options.append(name)
                continue
            self._check_filled(name, value)
            if not isinstance(action, argparse._AppendAction):
                self._check_once(name, value, values)
            options.append(f"{name}={value}")
        positionals += overrides  # behind the config, where they may be given before it
        for number, word in enumerate(positionals):
            self._check_filled(self._positional(number), word)
            field, equals, value = word.lstrip("-").partition("=")
            if number and equals and self._has_overrides():
                self._check_once(field, value, values)
        return [*options, "--", *positionals] if positionals else options

    def _option(self, word: str) -> tuple[argparse.Action, str | None]:
        """Returns the option that a word begins with, and what the word says after it."""
        known = self._option_string_actions
        name, equals, value = word.partition("=")
        if name in known:
            if equals and known[name].nargs == 0:
                self.error(f"{name} takes no value, got {value!r}; leave it out")
            return known[name], value if equals else None
        long = closest(f"-{name}", known, VERY_MUCH_ALIKE) if len(name) > 2 else []
        if not word.startswith("--") and word[:2] in known and not long:  # "-output" is "--output"
            return known[word[:2]], word[2:].removeprefix("=")
        remedy = or_else(long or closest(name, known))
        if self._has_overrides() and not remedy:
            remedy = "; a field of the config is set by key=value"
        return self.error(f"there is no option {name}{remedy}")

    def _value(
        self, action: argparse.Action, name: str, value: str | None, left: list[str]
    ) -> str | None:
        """Returns the value of an option, which may be the next word; None if it needs none."""
        if value is not None:
            return value
        following = left[0] if left else None
        if action.nargs == "?":
            return left.pop(0) if following is not None and _takes(action, following) else None
        if following is None:
            self.error(f"{name} needs a value")
        if following.startswith("-") and following != "-" and not _is_number(following):
            self.error(
                f"{name} needs a value, but {following} follows; if that is its value, write "
                f"{name}={following}"
            )
        return left.pop(0)

    def _is_override(self, word: str) -> bool:
        """Returns whether a word such as --seed=3 sets a field of a config."""
        name, equals, _ = word.partition("=")
        if not (self._has_overrides() and equals) or not word.startswith("--"):
            return False
        known = self._option_string_actions  # one so much like an option is that option mistyped
        return name not in known and not closest(name, known, VERY_MUCH_ALIKE)

    def _has_overrides(self) -> bool:
        return any(action.dest == "overrides" for action in self._actions)

    def _positional(self, number: int) -> str:
        """Returns what the help calls the positional that the word of this number belongs to."""
        actions = self._get_positional_actions()
        if not actions:
            return "argument"
        action = actions[min(number, len(actions) - 1)]
        return str(action.metavar or action.dest)

    def _check_once(self, name: str, value: str, values: dict[str, str]) -> None:
        """Refuses a name that has a value already, and notes the value."""
        if name in values:
            self.error(
                f"{name} is given twice, as {values[name]!r} and as {value!r}; leave one out"
            )
        values[name] = value

    def _check_filled(self, name: str, word: str) -> None:
        if not word.strip():
            shown = name if name.startswith("-") else name.upper()
            self.error(f"{shown} is empty; is an environment variable unset?")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuses what is none of the choices, and says which one is meant."""
        if action.choices is None or value in action.choices:
            return
        choices = [*map(str, action.choices)]
        remedy = did_you_mean(str(value), choices)
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no command {value!r}; choose from {', '.join(choices)}{remedy}")
        raise argparse.ArgumentError(
            action, f"{value!r} is not one of {', '.join(choices)}{remedy}"
        )


def _takes(action: argparse.Action, word: str) -> bool:
    """Returns whether an option's type takes a word."""
    with contextlib.suppress(argparse.ArgumentTypeError, TypeError, ValueError):
        (action.type if callable(action.type) else str)(word)
        return True
    return False


def _is_number(word: str) -> bool:
    with contextlib.suppress(ValueError):
        float(word)
        return True
    return False
