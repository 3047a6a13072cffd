import io
import sys

from lnln_jax.runtime.progress import progress_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_what_is_done(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = progress_of("reading Set5")
    for done in range(1, 4):
        progress(done, 3)
    assert "reading Set5" in terminal.getvalue()


def test_nothing_is_shown_elsewhere(capsys):
    progress_of("reading Set5")(3, 3)
    assert capsys.readouterr() == ("", "")
