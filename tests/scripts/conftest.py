"""What tests of scripts share."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A function that runs a script's `main` here; it returns exit status, stdout and stderr."""

    def run(module: ModuleType, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        status = 0
        try:
            module.main()
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    return run
