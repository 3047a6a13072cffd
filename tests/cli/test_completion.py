"""`lnln completion`, in the shells themselves."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from lnln_jax.cli import main
from lnln_jax.config.shipped import config_names
from lnln_jax.weights.pretrained import names
from tests.support.terminals import Terminal

# Words of a line, the last to be completed, and some of what a shell then offers.
LINES = {
    "lnln tr": {"train"},
    "lnln train --out": {"--output"},
    "lnln train --output my": {"my dir"},
    "lnln train lnln_": {name for name in config_names() if name.startswith("lnln_")},
    "lnln train ow": {"own.py"},
    "lnln train lnln_x2 data.train": {"data.train=", "data.train_lr="},
    "lnln evaluate --channel r": {"rgb"},
    "lnln explain --pub": {"--published"},
    "lnln explain ow": {"own.py"},
    "lnln leaderboard --no": {"--no-published"},
    "lnln leaderboard ow": {"own.py"},
    "lnln prepare f": {"folder"},
    "lnln prepare folder --deg": {"--degradation"},
    "lnln convert lnln_": set(names()),
    "lnln upscale --model bic": {"bicubic"},
    "lnln -q doctor --only dev": {"deviations"},
}


def shell(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"there is no {name} here")


@pytest.fixture
def script(request, capsys, tmp_path, monkeypatch) -> Path:
    """The script for the shell that the test is of, in a folder with some files."""
    kind = request.node.name.split("_")[1]
    shell(kind)
    assert main(["completion", kind]) == 0
    path = tmp_path / f"lnln.{kind}"
    path.write_text(capsys.readouterr().out)
    (tmp_path / "my dir").mkdir()
    (tmp_path / "own.py").touch()
    monkeypatch.chdir(tmp_path)
    return path


def run(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_bash_completes(script):
    for line, expected in LINES.items():
        words = " ".join(map(shlex.quote, line.split(" ")))
        code = (
            f"source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _lnln; "
            "printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        assert set(run("bash", "--norc", "-c", code).splitlines()) == expected, line
    for line, expected in {  # as bash cuts them
        "lnln evaluate --channel = r": "rgb",
        "lnln train lnln_x2 data.train = my": "my dir",
    }.items():
        code = (
            f"source {script}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _lnln; "
            'echo "${COMPREPLY[@]}"'
        )
        assert run("bash", "--norc", "-c", code) == expected


def test_fish_completes(script):
    for line, expected in LINES.items():
        offered = run("fish", "--no-config", "-c", f"source {script}; complete -C {line!r}")
        found = {words.partition("\t")[0].rstrip("/") for words in offered.splitlines()}
        assert found == expected, line


@pytest.mark.skipif("sys.platform == 'win32'")
def test_zsh_completes(script, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("PS1", "> ")
    start = "setopt no_auto_menu no_list_ambiguous no_beep; autoload -U compinit; compinit -u -D"
    with Terminal("zsh", "-f", "-i") as terminal:
        terminal.type(f"{start}; source {script}\nprint read''y\n", until="ready")
        for line, expected in LINES.items():
            terminal.type(f"{line}\t", until=sorted(expected)[0].replace(" ", "\\ "))
            terminal.type("\x15print go''ne\n", until="gone")


def test_the_names_are_those_of_the_parser(capsys):
    assert main(["completion", "fish"]) == 0
    lines = capsys.readouterr().out
    assert all(f" {name} " in lines.replace("'", " ") for name in (*config_names(), *names()))
