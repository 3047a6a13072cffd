"""The second process of a command compiles nothing; each test runs real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lnln_jax.config import ModelConfig
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from lnln_jax.weights.safetensors_files import save_safetensors

# Runs the command and says which events of the cache JAX has counted.
COUNTED = """
import collections, json, sys
import jax
from lnln_jax.cli import main

events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
status = main(sys.argv[1:])
print(json.dumps({event.split("/")[-1]: count for event, count in events.items()}))
sys.exit(status)
"""


@pytest.fixture
def evaluation(data_dir, tmp_path) -> list[str]:
    """The arguments of a small evaluation."""
    options = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4}
    model = tmp_path / "net.safetensors"
    variables = initialize(create_model("lnln", 2, **options), 0)
    save_safetensors(model, ModelConfig("lnln", 2, options), variables)
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(data_dir / "Set5" / "HR" / "bird.png") as image:
        image.crop((60, 60, 124, 108)).save(photos / "bird.png")
    return ["evaluate", str(model), "--data", str(photos)]


def run(*arguments: str, **environment: str) -> tuple[dict[str, int], str]:
    """Runs the command and returns the events and what stands on stderr."""
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=kept | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def programs(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_second_run_compiles_nothing(evaluation, tmp_path):
    caches = {"XDG_CACHE_HOME": str(tmp_path / "caches")}
    first, noise = run(*evaluation, **caches)
    assert noise == ""
    cached = programs(tmp_path / "caches" / "lnln_jax" / "xla")
    assert len(cached) == first["cache_misses"] >= 3  # the network, the metrics of two bicubics
    again, noise = run(*evaluation, **caches)
    assert noise == ""
    assert "cache_misses" not in again
    assert again["cache_hits"] == again["compile_requests_use_cache"] >= 3
    assert programs(tmp_path / "caches" / "lnln_jax" / "xla") == cached


@pytest.mark.slow
def test_the_cache_of_jax_is_used_where_one_is_set(evaluation, tmp_path):
    model, photos = evaluation[1], evaluation[3]
    cache, home = tmp_path / "chosen", tmp_path / "home"
    events, _ = run(
        "upscale", photos, "--model", model, "--output", str(tmp_path / "out"),
        JAX_COMPILATION_CACHE_DIR=str(cache), HOME=str(home), XDG_CACHE_HOME="",
    )  # fmt: skip
    assert len(programs(cache)) == events["cache_misses"] >= 1
    assert not (home / ".cache").exists()


@pytest.mark.slow
def test_without_a_cache_it_goes_on(evaluation, tmp_path):
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")
    for environment, folder in (
        ({"JAX_COMPILATION_CACHE_DIR": str(occupied)}, occupied),
        ({"XDG_CACHE_HOME": "", "HOME": str(occupied)}, occupied / ".cache" / "lnln_jax" / "xla"),
    ):
        _, noise = run("evaluate", "bicubic", *evaluation[2:], **environment)
        (line,) = noise.splitlines()
        assert line.startswith(f"lnln: no compilation cache, {folder}: ")


def in_a_process(code: str, environment: dict[str, str], *before: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COMPILATION", "XDG_"))}
    kept.pop("HOME", None)
    code = f"from lnln_jax.runtime.compilation_cache import enable_compilation_cache as go; {code}"
    done = subprocess.run(
        [*before, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env=kept | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(
    not hasattr(os, "setuid") or os.getuid() != 0, reason="needs to be another user"
)
def test_a_user_without_a_home_folder(tmp_path):
    """As in a container that is started with `--user 1234`."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    code = "import os; os.setgid(54321); os.setuid(54321); print(go())"
    for environment, reason in (
        ({}, "~/.cache/lnln_jax/xla: there is no home folder; JAX_COMPILATION_CACHE_DIR may"),
        ({"HOME": str(home)}, f"{home}/.cache/lnln_jax/xla: Permission denied; JAX_"),
    ):
        text = in_a_process(code, environment)
        assert text.startswith(f"None\nlnln: no compilation cache, {reason}")
        assert len(text.splitlines()) == 2
