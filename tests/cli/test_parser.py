"""How all commands read their words: in any order, nothing twice or empty; what was meant."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lnln_jax.cli.command import make_parser
from lnln_jax.cli.options import listed, path, positive
from lnln_jax.cli.parser import Parser
from lnln_jax.config import TrainConfig
from lnln_jax.config.listing import list_fields
from tests.support.commands import fails, refuses


def parsers(parser: Parser | None = None) -> Iterator[Parser]:
    """The parsers of all commands, and of what is below them."""
    parser = parser or make_parser()
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for group in groups:
        for child in group.choices.values():
            yield from parsers(child)
    if not groups:
        yield parser


ALL = {parser.prog: parser for parser in parsers()}


def options(parser: Parser) -> list[argparse.Action]:
    return [a for a in parser._actions if a.option_strings and a.dest not in ("help", "quiet")]


@pytest.fixture
def parser() -> Parser:
    """A parser with each kind of argument."""
    made = Parser(prog="lnln try")
    made.add_argument("config")
    made.add_argument("overrides", nargs="*", metavar="key=value")
    made.add_argument("-o", "--output")
    made.add_argument("-s", "--scale", type=positive)
    made.add_argument("--profile", type=positive, nargs="?", const=10)
    made.add_argument("--data", action="append")
    made.add_argument("-x", "--overwrite", action="store_true")
    made.add_argument("--scales", type=listed(positive))
    return made


@pytest.mark.parametrize("command", ALL)
def test_no_option_eats_what_follows(command):
    for action in options(ALL[command]):
        assert action.nargs in (None, 0, "?"), action.option_strings
        if action.nargs == "?":
            assert action.type is positive  # which takes no name and no path


@pytest.mark.parametrize("command", ALL)
def test_two_examples_that_parse(command, capsys):
    examples = ALL[command]._examples
    assert len(examples) >= 2
    assert ALL[command].format_help().endswith("examples:\n  " + "\n  ".join(examples) + "\n")
    for example in examples:
        words = shlex.split(example.split("| ")[-1].partition(" > ")[0])
        assert " ".join(words).startswith(command)
        make_parser().parse_args(words[1:])


@pytest.mark.parametrize("command", ["lnln", *ALL])
def test_help_fits_80_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for line in (ALL.get(command) or make_parser()).format_help().splitlines():
        assert len(line) <= 80 or line.startswith("  lnln "), line


@pytest.mark.parametrize("command", ALL)
def test_every_value_of_every_command_must_be_filled(command, capsys):
    for action in options(ALL[command]):
        if action.nargs != 0:
            for empty in ("", "  "):
                name = action.option_strings[-1]
                said = refuses(capsys, *command.split()[1:], f"{name}={empty}")
                assert f"error: {name} is empty; is an environment variable unset?" in said
    if ALL[command]._get_positional_actions():
        said = refuses(capsys, *command.split()[1:], "")
        assert "is empty; is an environment variable unset?" in said


@pytest.mark.parametrize("command", ALL)
def test_every_option_is_given_once(command, capsys):
    for action in options(ALL[command]):
        if action.nargs != 0 and not isinstance(action, argparse._AppendAction):
            name = action.option_strings[-1]
            said = refuses(
                capsys, *command.split()[1:], f"{name}=1", f"{action.option_strings[0]}", "2"
            )
            assert f"error: {name} is given twice, as '1' and as '2'; leave one out" in said


@pytest.mark.parametrize(
    "line",
    [
        "c a=1 b=2 --output o --scale 2 --data x --data y --overwrite",
        "--data x c --overwrite --data=y a=1 --scale=2 b=2 --output o",
        "-xo o -s2 c a=1 --data x --data y b=2",
        "-o=o -s=2 c a=1 --data x --data y -x -- b=2",
        "-x -x -s 2 --overwrite --data x --data y -oo -- c a=1 b=2",
    ],
)
def test_options_stand_anywhere(parser, line):
    args = parser.parse_args(line.split())
    assert (args.config, args.overrides) == ("c", ["a=1", "b=2"])
    assert (args.output, args.scale, args.data, args.overwrite) == ("o", 2, ["x", "y"], True)


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("--profile c", 10),
        ("c --profile", 10),
        ("--profile 5 c", 5),
        ("c --profile=5", 5),
        ("c a=1 --profile -x", 10),
        ("c", None),
    ],
)
def test_a_value_that_may_be_left_out(parser, line, steps):
    args = parser.parse_args(line.split())
    assert (args.config, args.profile) == ("c", steps)


def test_words_that_look_like_options(parser):
    args = parser.parse_args(["--output=-x", "--", "-c", "--seed=3"])
    assert (args.output, args.config, args.overrides) == ("-x", "-c", ["--seed=3"])
    assert parser.parse_args(["c", "--seed=3", "-x"]).overrides == ["--seed=3"]
    assert parser.parse_args(["-"]).config == "-"  # standard input or output
    assert parser.parse_args(["c", "--output", "-"]).output == "-"


def test_overrides_may_stand_before_the_config(parser):
    args = parser.parse_args(["--seed=3", "c", "steps=2"])
    assert (args.config, args.overrides) == ("c", ["steps=2", "--seed=3"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c --output", "--output needs a value"),
        ("c --output --overwrite", "--output needs a value, but --overwrite follows; if that is"),
        ("c --overwrite=yes", "--overwrite takes no value, got 'yes'; leave it out"),
        ("c --out x", "there is no option --out; did you mean '--output'?"),
        ("c seed=1 --output x seed=2", "seed is given twice, as '1' and as '2'; leave one out"),
        ("c --seed=1 seed=1", "seed is given twice, as '1' and as '1'; leave one out"),
        ("c -output x", "there is no option -output; did you mean '--output'?"),
        ("c -overwrite", "there is no option -overwrite; did you mean '--overwrite'?"),
        ("c --outptu=x", "there is no option --outptu; did you mean '--output'?"),
        ("c --seed 3", "there is no option --seed; a field of the config is set by key=value"),
        ("c -z", "there is no option -z; a field of the config is set by key=value"),
        (
            "c --scales 2,,3",
            "argument --scales: '2,,3' has a part that is empty or given twice",
        ),
        (
            "c --scales 2,2",
            "argument --scales: '2,2' has a part that is empty or given twice",
        ),
        ("c --scale -2", "argument -s/--scale: '-2' is not a whole number of at least 1"),
        ("", "the following arguments are required: config"),
    ],
)
def test_wrong_lines(parser, line, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(line.split())
    assert f"lnln try: error: {said}" in capsys.readouterr().err


def test_an_empty_word_is_named(parser, capsys):
    for words, name in {
        ("",): "CONFIG",
        ("c", " "): "KEY=VALUE",
        ("c", "a=1", ""): "KEY=VALUE",
        ("c", "--data", "x", "--data="): "--data",
    }.items():
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        assert f"error: {name} is empty; is an" in capsys.readouterr().err


@pytest.mark.parametrize("field", [field.key for field in list_fields(TrainConfig())])
def test_no_field_is_taken_for_a_mistyped_option(field):
    for command in ("lnln train", "lnln config"):
        assert ALL[command]._is_override(f"--{field}=1")


def test_what_was_meant(capsys):
    assert "did you mean 'train'?" in refuses(capsys, "trian")
    assert "did you mean 'div2k'?" in refuses(capsys, "prepare", "div2")
    assert "did you mean 'deviations'?" in refuses(capsys, "doctor", "--only", "deviation")
    assert "did you mean 'data.batch_size'?" in fails(capsys, "config", "lnln_x2", "batchsize=3")
    assert "did you mean 'data.batch_size'?" in fails(
        capsys, "config", "lnln_x2", "optimizer.batch_size=3"
    )
    assert "did you mean 'bfloat16'?" in fails(capsys, "config", "lnln_x2", "dtype=bfloat")
    assert "did you mean 'lnln_light_x2'?" in fails(capsys, "config", "lnln_lite_x2")
    assert "did you mean 'edsr'?" in fails(capsys, "config", "lnln_x2", "model.name=edsrr")
    assert "did you mean" not in refuses(capsys, "frobnicate")


@pytest.mark.parametrize("words", [[], ["prepare"], ["-q"]])
def test_a_bare_command_prints_help_and_fails(words, capsys):
    said = refuses(capsys, *words)
    assert said.startswith("usage: lnln")
    assert "positional arguments:" in said


def test_paths_know_homes(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert path("~/x") == tmp_path / "x"
    assert str(path("~nobody_here/x")) == "~nobody_here/x"
    for parser in ALL.values():
        for action in parser._actions:
            assert action.type is not Path, f"{parser.prog}: {action.dest} knows no ~"
