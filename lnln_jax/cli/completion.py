"""The command `lnln completion`: scripts by which shells complete `lnln`.

They are made of the parser and hold all words, so that no Python starts when a key is pressed.
"""

import argparse
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from lnln_jax.cli.options import name_or_path, path
from lnln_jax.cli.parser import Parser

_OR_FILES = ("overrides", "model", "lr", "results")  # besides names
# What bash and zsh share: `at` is the command so far, such as /prepare/folder, `before` the word
# before `cur`, the one to complete.
_CASES = """    for word in "${given[@]}"; do
        case "$at/$word" in
            @COMMANDS@) at=$at/$word ;;
        esac
    done
    case "$at $before" in
@VALUES@
    esac
    if [[ $value ]]; then _lnln_offer files ''; return; fi  # of key=value
    case "$at" in
@WORDS@
    esac
}
"""
_BASH = """_lnln() {
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} at= value= word
    local given=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    if [[ $cur == = ]]; then cur= value=1  # bash takes --option=value for three words
    elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]} value=1; fi
@CASES@_lnln_offer() {
    local word
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(
        compgen -W "$2" -- "$cur"
        if [[ $1 == files ]]; then compgen -f -- "${cur/#\\~/$HOME}"; fi
    )
    if [[ $1 == files ]]; then compopt -o filenames; fi 2>/dev/null  # unknown to bash 3
    if [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi 2>/dev/null
}
complete -F _lnln lnln
"""
_ZSH = """#compdef lnln
_lnln() {
    local cur=$words[CURRENT] before=$words[CURRENT-1] at= value= word
    local -a given=(${words[2,CURRENT-1]})
    if [[ $cur == -*=* ]]; then before=${cur%%=*}; fi
    if [[ $cur == *=* ]]; then compset -P '*='; value=1; fi
@CASES@_lnln_offer() {
    local -a all=(${=2})
    compadd -- ${all:#*=}
    compadd -S '' -- ${(M)all:#*=}
    if [[ $1 == files ]]; then _files; fi
}
if [[ $funcstack[1] == _lnln ]]; then _lnln; else compdef _lnln lnln; fi
"""
_FISH = """function __lnln_at
    set -l at
    for word in (commandline -opc)[2..-1]
        if contains -- "$at/$word" @COMMANDS@
            set at "$at/$word"
        end
    end
    test "$at" = "$argv[1]"
end
complete -c lnln -f
"""


class _Place(NamedTuple):
    """Something that can be completed.

    Attributes:
      at: command that it belongs to, such as "/prepare/folder"; "" for `lnln` itself.
      options: names of the option whose value it is; empty for positionals.
      takes: whether there is a value at all.
      words: what it may be.
      files: whether it may be a file, too.
      help: what the help says.
    """

    at: str
    options: tuple[str, ...]
    takes: bool
    words: tuple[str, ...]
    files: bool
    help: str


def add_parser(commands: Any) -> None:
    """Adds `completion` to the commands of `lnln`."""
    completion = commands.add_parser(
        "completion",
        help="a script for bash, zsh or fish that completes lnln's commands",
        description="Prints a script that lets a shell complete commands, options, choices, files, "
        "and the names of networks and configs.",
        examples=(
            "lnln completion bash > ~/.local/share/bash-completion/completions/lnln",
            'lnln completion zsh > "${fpath[1]}/_lnln"',
            "lnln completion fish > ~/.config/fish/completions/lnln.fish",
        ),
    )
    completion.add_argument("shell", choices=tuple(_SCRIPTS))
    completion.set_defaults(run=run, needs_device=False)


def run(args: argparse.Namespace) -> int:
    """Prints the script."""
    print(_SCRIPTS[args.shell]([*_places(args.parser, "", _names())]), end="")
    return 0


def _names() -> dict[str, list[str]]:
    """Returns the names that a positional or an option may be, by its `dest`."""
    from lnln_jax.config import TrainConfig
    from lnln_jax.config.listing import list_fields
    from lnln_jax.config.shipped import config_names
    from lnln_jax.models import MODELS
    from lnln_jax.weights.pretrained import names

    return {
        "config": config_names(),
        "overrides": [f"{field.key}=" for field in list_fields(TrainConfig())],
        "names": [*names(), *MODELS],
        "source": names(),
        "model": ["bicubic", *names()],
        "models": ["bicubic", *names()],
    }


def _places(parser: Parser, at: str, names: dict[str, list[str]]) -> Iterator[_Place]:
    words: list[str] = []
    files = False
    for action in parser._actions:
        choices = tuple(map(str, action.choices or names.get(action.dest) or ()))
        a_file = action.type in (path, name_or_path) or action.dest in _OR_FILES
        if action.option_strings:
            takes = action.nargs != 0
            options = tuple(action.option_strings)
            yield _Place(at, options, takes, choices, a_file, action.help or "")
            continue
        words += choices
        files |= a_file
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from _places(child, f"{at}/{name}", names)
    yield _Place(at, (), True, tuple(words), files, "")


def _cases(template: str, places: list[_Place]) -> str:
    """Returns the script for bash or zsh."""
    values, words = [], []
    for place in places:
        offer = f"_lnln_offer {'files' if place.files else 'words'} {_quoted(place.words)}"
        if place.options and place.takes:
            patterns = "|".join(shlex.quote(f"{place.at} {name}") for name in place.options)
            values.append(f"        {patterns}) {offer}; return ;;")
        if not place.options:
            known = [name for p in places if p.at == place.at for name in p.options]
            dashes = f"_lnln_offer words {_quoted(known)}"
            words.append(
                f"        '{place.at}') if [[ $cur == -* ]]; then {dashes}; else {offer}; fi ;;"
            )
    commands = "|".join(sorted({place.at for place in places} - {""}))
    script = template.replace("@CASES@", _CASES).replace("@COMMANDS@", commands)
    return script.replace("@VALUES@", "\n".join(values)).replace("@WORDS@", "\n".join(words))


def _fish(places: list[_Place]) -> str:
    commands = " ".join(sorted({place.at for place in places} - {""}))
    lines = []
    for place in places:
        line = f"complete -c lnln -n '__lnln_at \"{place.at}\"'"
        for name in place.options:
            line += f" -{'l' if name.startswith('--') else 's'} {name.lstrip('-')}"
        if place.options and place.takes:
            line += " -r" if place.files else " -x"
        line += " -F" if place.files else ""
        line += f" -a {_quoted(place.words)}" if place.words else ""
        lines.append(f"{line} -d {shlex.quote(place.help)}" if place.help else line)
    return _FISH.replace("@COMMANDS@", commands) + "\n".join(lines) + "\n"


def _quoted(words: Iterable[str]) -> str:
    return shlex.quote(" ".join(words))


_SCRIPTS: dict[str, Callable[[list[_Place]], str]] = {
    "bash": lambda places: _cases(_BASH, places),
    "zsh": lambda places: _cases(_ZSH, places),
    "fish": _fish,
}
