from pathlib import Path

import pytest

from lnln_jax import load_model
from lnln_jax.cli import main
from lnln_jax.config import load_config
from lnln_jax.runtime.local_paths import local_path

ADDRESS = "https://example.org/a.png"


def test_home_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert local_path("~/x") == "/home/somebody/x"
    assert local_path("~nobody-of-this-name/x") == "~nobody-of-this-name/x"
    assert local_path("a~/x") == "a~/x"
    monkeypatch.setenv("HOME", "")
    with pytest.raises(ValueError, match="'~/x' begins with ~, but this user has no home folder"):
        local_path("~/x")


@pytest.mark.parametrize("path", ["C:/x", "c://x", "a:b", "https:/x", "./https://x"])
def test_what_only_looks_like_an_address(path):
    assert local_path(path) == path


@pytest.mark.parametrize(
    "call",
    [
        ["upscale", ADDRESS],
        ["upscale", "x.png", f"--output={ADDRESS}"],
        ["upscale", "x.png", "--model", ADDRESS],
        ["evaluate", ADDRESS, "--data", "x"],
        ["evaluate", "bicubic", "--data", ADDRESS],
        ["evaluate", "--data", "x", "--results", f"a={ADDRESS}"],
        ["train", ADDRESS],
        ["train", "quickstart", f"data.train={ADDRESS}"],
        ["convert", ADDRESS, "x.pt"],
        ["export", ADDRESS, "x.stablehlo"],
        ["prepare", "folder", ADDRESS, "--name", "x"],
    ],
)
def test_an_address_is_no_path(call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    try:
        status = main(call)
    except SystemExit as end:
        status = end.code
    assert status
    assert "is an address, not a path; download it first" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_address_from_python():
    for load in (load_model, load_config):
        with pytest.raises(ValueError, match="is an address, not a path"):
            load(ADDRESS)
