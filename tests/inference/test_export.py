import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export as jax_export

from lnln_jax.cli import main
from lnln_jax.config import ModelConfig
from lnln_jax.images.arrays import rgb_to_ycbcr, ycbcr_to_rgb
from lnln_jax.images.resize import imresize
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.export import export_model, export_program
from lnln_jax.inference.loading import load_model
from lnln_jax.inference.network import TILE_BATCH
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from lnln_jax.weights.safetensors_files import save_safetensors
from tests.support.small_networks import OPTIONS as SMALL

GROUPS = {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4}
OPTIONS = SMALL | {
    "lnln": GROUPS,
    "drca": GROUPS,
    "rcan": GROUPS,
    "edsr": {"n_resblocks": 2, "n_feats": 16, "res_scale": 1.0},
    "vdsr": {"n_layers": 4, "n_feats": 16, "n_colors": 1},
}
TILE = 70  # quarters of so many positions that attention on a CPU is in chunks
LR = np.random.default_rng(0).uniform(0, 255, (TILE, TILE, 3)).astype(np.float32)

# What a user without this package does.
CHILD = """
import sys
from pathlib import Path
import numpy as np
import jax.export
program = jax.export.deserialize(Path(sys.argv[1]).read_bytes())
np.save(sys.argv[3], program.call(np.load(sys.argv[2])))
assert not {"lnln_jax", "flax"} & set(sys.modules)
"""


def write_model(path, name="lnln", scale=2):
    """Writes a network with running statistics that are not those of the start."""
    rng = np.random.default_rng(1)
    variables = initialize(create_model(name, scale, **OPTIONS[name]), 0)
    if "batch_stats" in variables:
        statistics = jax.tree.map(
            lambda x: rng.uniform(0.5, 2, x.shape).astype(np.float32), variables["batch_stats"]
        )
        variables = {**variables, "batch_stats": statistics}
    save_safetensors(path, ModelConfig(name, scale, OPTIONS[name]), variables)
    return path


def assert_same(sr, expected, name):
    """Compares bits, or last places where XLA computes with constant statistics or kernels."""
    if name in ("lnln", "drca", "wdsr_a", "wdsr_b", "wdsr_reloaded"):
        assert sr.dtype == expected.dtype
        np.testing.assert_allclose(sr, expected, rtol=0, atol=4e-7 * np.abs(expected).max())
    else:
        np.testing.assert_array_equal(sr, expected, strict=True)


def run_elsewhere(program, lr, folder):
    np.save(folder / "lr.npy", lr)
    command = [sys.executable, "-c", CHILD, program, folder / "lr.npy", folder / "sr.npy"]
    subprocess.run(command, check=True, cwd=folder, timeout=300)
    return np.load(folder / "sr.npy")


@pytest.fixture
def lnln(tmp_path):
    return write_model(tmp_path / "small.safetensors")


# ---- the program ----


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "platforms"), [("lnln", ["cpu"]), ("lnln", ["cpu", "cuda"]), ("edsr", ["cpu", "cuda"])]
)
def test_it_runs_without_the_package_and_gives_the_same(name, platforms, tmp_path, capsys):
    source, target = write_model(tmp_path / "small.safetensors", name), tmp_path / "a.stablehlo"
    options = ["--tile", str(TILE), "--platforms", ",".join(platforms)]
    assert main(["export", str(source), str(target), *options]) == 0
    size = f"{target.stat().st_size / 1e6:.2f} MB"
    where = ", ".join(platforms)
    assert capsys.readouterr().out == (
        f"small x2, 1x70x70x3 to 1x140x140x3 on {where}: {target} ({size})\n"
    )
    sr = run_elsewhere(target, LR[None], tmp_path)[0]
    model = load_model(source)
    assert_same(sr, model.upscale_float(LR), name)


def test_a_network_of_luma(tmp_path):
    source, target = write_model(tmp_path / "a.safetensors", "vdsr", 3), tmp_path / "a.stablehlo"
    assert "1x70x70x1 to 1x210x210x1" in export_model(source, target, tile=TILE)
    ycbcr = rgb_to_ycbcr(LR)
    y = run_elsewhere(target, ycbcr[None, ..., :1], tmp_path)[0]
    sr = ycbcr_to_rgb(np.concatenate([y, imresize(ycbcr[..., 1:], 3)], axis=-1))
    np.testing.assert_array_equal(sr, load_model(source).upscale_float(LR), strict=True)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.slow
def test_every_network_lowers_for_every_platform(name, tmp_path):
    model = load_model(write_model(tmp_path / "a.safetensors", name))
    program = export_program(model, tile=16, batch=3, platforms=["tpu", "cuda", "cpu", "rocm"])
    channels = 1 if name == "vdsr" else 3
    lr = np.stack([LR[:16, :16], LR[16:32, :16], LR[:16, 16:32]])[..., :channels]
    sr = np.asarray(jax_export.deserialize(program.serialize()).call(lr))
    expected = jax.jit(model.module.apply)(model.variables, lr)
    assert_same(sr, np.asarray(expected), name)


def test_the_defaults_are_those_of_upscale(lnln):
    model = load_model(lnln)
    for platforms, batch in (
        (None, 1),
        (["cuda", "cpu"], 1),
        (["cuda"], TILE_BATCH),
        (["tpu", "cuda", "tpu"], TILE_BATCH),
    ):
        program = export_program(model, platforms=platforms)
        assert program.in_avals[0].shape == (batch, 96, 96, 3)
        assert program.platforms == tuple(dict.fromkeys(platforms or ["cpu"]))


def test_attention_is_not_cut_for_this_cpu_where_the_program_is_for_none(lnln):
    model = load_model(lnln)
    scores = "tensor<4x1225x1225xf32>"  # of all positions of the quarters at once
    for platforms, dense in ((["cpu"], False), (["cpu", "cuda"], False), (["cuda"], True)):
        program = export_program(model, tile=np.int64(TILE), batch=np.int64(1), platforms=platforms)
        assert (scores in program.mlir_module()) == dense


def test_equal_weights_make_equal_files_that_name_no_other(lnln, tmp_path):
    first, second = tmp_path / "1.stablehlo", tmp_path / "new" / "folder" / "2.STABLEHLO"
    for target in (first, second):
        export_model(lnln, target, tile=8, platforms=["cpu", "cuda"])
    data = first.read_bytes()
    assert data == second.read_bytes()
    assert b".py" not in data
    assert jax.config.jax_traceback_in_locations_limit > 0


# ---- what is refused ----


def test_what_is_there_is_kept(lnln, tmp_path, capsys):
    target = tmp_path / "a.stablehlo"
    target.write_bytes(b"mine")
    command = ["export", str(lnln), str(target), "--tile", "8"]
    assert main(command) == 1
    assert capsys.readouterr().err == (
        f"lnln: error: target is {target}, which exists; name another, or overwrite (--overwrite)\n"
    )
    assert target.read_bytes() == b"mine"
    assert main([*command, "--overwrite"]) == 0
    jax_export.deserialize(target.read_bytes())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.stablehlo", "small.safetensors"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 1}, "tile is 1; it must be a whole number of at least 2"),
        ({"tile": "auto"}, "tile is 'auto'; it must be a whole number"),
        ({"batch": 0}, "batch is 0; it must be a whole number of at least 1"),
        ({"platforms": ["cpu", "gpu"]}, r"platforms are \('cpu', 'gpu'\); choose .*'cuda'"),
        ({"scale": 3}, "upscales x2, not x3"),
        ({"source": "bicubic"}, "model is bicubic, which has no program; give a network"),
        ({"source": "none.safetensors"}, "there is no model none.safetensors"),
        ({"target": "a.mlir"}, r"target is .*a\.mlir; its suffix must be \.stablehlo"),
        ({"target": "folder.stablehlo"}, "which is a folder; name a file in it"),
        ({"target": "small.safetensors/a.stablehlo"}, r"cannot be written \(Not a directory\)"),
    ],
)
def test_other_arguments_are_refused_and_leave_nothing(options, message, lnln, tmp_path):
    (tmp_path / "folder.stablehlo").mkdir()
    before = sorted(tmp_path.rglob("*"))
    call = {"source": lnln, "target": "new/a.stablehlo", "tile": 8, **options}
    call["target"] = tmp_path / call["target"]
    with pytest.raises(ValueError, match=message):
        export_model(**call, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "least"), [("rlfn", 15), ("swinir_light", 5), ("san", 4)])
def test_a_tile_that_the_network_does_not_take_is_refused(name, least, tmp_path):
    source = write_model(tmp_path / "a.safetensors", name)
    message = f"tile is {least - 1}; it must be a whole number of at least {least}$"
    with pytest.raises(ValueError, match=message):
        export_model(source, tmp_path / "a.stablehlo", tile=least - 1)


def test_bicubic_itself_is_refused():
    with pytest.raises(ValueError, match="bicubic, which has no program"):
        export_program(BicubicUpscaler(2))
