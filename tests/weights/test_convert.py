import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from lnln_jax import load_model
from lnln_jax.cli import main
from lnln_jax.config import ModelConfig, TrainConfig
from lnln_jax.inference.photo_pixels import BORDER
from lnln_jax.models import create_model
from lnln_jax.weights.convert import convert
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.safetensors_files import load_safetensors, save_safetensors
from lnln_jax.weights.tables import NETWORKS
from lnln_jax.weights.torch_files import write_state_dict
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables, write_run

HINT = {"vdsr": {"scale": 2}, "pan": {"scale": 2}}  # what a PyTorch file does not show


@pytest.fixture
def edsr(tmp_path):
    path = tmp_path / "edsr.safetensors"
    save_safetensors(path, ModelConfig("edsr", 2, OPTIONS["edsr"]), make_variables("edsr"))
    return path


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")


def assert_same_tensors(torch, path, expected):
    """The file has the expected keys in their order, with the same bits."""
    tensors = torch.load(path, weights_only=True)
    assert list(tensors) == list(expected)
    for key, tensor in tensors.items():
        other = expected[key]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape), key
        assert tensor.is_contiguous()
        assert tensor.numpy().tobytes() == other.numpy().tobytes(), key


# ---- there and back ----


@pytest.mark.parametrize("name", OPTIONS)
def test_pytorch_to_safetensors_and_back(name, torch, tmp_path):
    from lnln_jax import torch_reference

    network = torch_reference.NETWORKS[name](2, **OPTIONS[name])
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    constants = NETWORKS[name].extras(shapes)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith("num_batches_tracked"):
                value.fill_(11)
            elif key in constants:
                value.copy_(torch.from_numpy(np.array(constants[key])))
            elif not key.startswith(("sub_mean", "add_mean")):
                value.normal_()
    first, second, third = (tmp_path / f for f in ("1.pt", "2.safetensors", "3.pth"))
    torch.save(network.state_dict(), first)
    convert(first, second, **HINT.get(name, {}))
    convert(second, third)
    assert_same_tensors(torch, third, network.state_dict())
    network.load_state_dict(torch.load(third, weights_only=True), strict=True)

    again = tmp_path / "4.safetensors"
    convert(third, again, **HINT.get(name, {}))
    assert again.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.slow
def test_a_run_to_files_and_back(name, torch, tmp_path):
    variables = make_variables(name)
    config = TrainConfig(model=ModelConfig(name, 2, OPTIONS[name]))
    write_run(tmp_path / "run", config, variables, step=5)
    for target in ("new/folder/a.pt", "a.pth", "a.safetensors"):
        report = convert(tmp_path / "run", tmp_path / target)
        assert f"{name} x2" in report
        assert "trained for 5 steps" in report
        hint = HINT.get(name, {}) if target != "a.safetensors" else {}
        model = load_model(tmp_path / target, **hint)
        assert model.module == create_model(name, 2, **OPTIONS[name])
        assert_same(jax.tree.map(np.asarray, model.variables), variables)
    arrays = to_torch(variables, name=name, step=5)
    expected = {key: torch.from_numpy(array) for key, array in arrays.items()}
    assert_same_tensors(torch, tmp_path / "a.pth", expected)
    assert load_safetensors(tmp_path / "a.safetensors").step == 5


def test_equal_weights_make_equal_files(edsr, tmp_path):
    for suffix in (".pt", ".safetensors"):
        contents = []
        for name in ("a", "b"):
            convert(edsr, tmp_path / f"{name}{suffix}")
            contents.append((tmp_path / f"{name}{suffix}").read_bytes())
        assert contents[0] == contents[1]


# ---- what is said ----


def test_the_report(edsr, tmp_path):
    parameters = sum(leaf.size for leaf in jax.tree.leaves(make_variables("edsr")["params"]))
    target = tmp_path / "a.pt"
    report = convert(edsr, target)
    assert report == f"edsr x2, {parameters:,} parameters: {target} (0.03 MB)"
    with pytest.raises(ValueError, match="upscales x2, not x3"):
        convert(target, tmp_path / "b.safetensors", scale=3)
    convert(target, tmp_path / "b.safetensors", res_scale=0.1)
    report = convert(tmp_path / "b.safetensors", target, overwrite=True)
    assert report.splitlines()[1:] == [
        "A PyTorch file does not show res_scale: load it with res_scale=0.1 (--res-scale 0.1)."
    ]
    assert (
        load_model(target, res_scale=0.1).module
        == load_weights(tmp_path / "b.safetensors").module()
    )

    vdsr = tmp_path / "vdsr.safetensors"
    save_safetensors(vdsr, ModelConfig("vdsr", 3, OPTIONS["vdsr"]), make_variables("vdsr"))
    report = convert(vdsr, tmp_path / "vdsr.pt")
    assert report.endswith("does not show scale: load it with scale=3 (--scale 3).")


def test_the_dtype_of_a_run_goes_where_it_can(tmp_path, data_dir):
    config = TrainConfig(model=ModelConfig("edsr", 2, OPTIONS["edsr"]), dtype="bfloat16")
    write_run(tmp_path / "run", config, make_variables("edsr"), step=5)
    first, second, third = (tmp_path / f for f in ("1.safetensors", "2.safetensors", "3.pt"))
    assert "PyTorch" not in convert(tmp_path / "run", first)
    convert(first, second)
    assert second.read_bytes() == first.read_bytes()
    report = convert(first, third)
    assert report.splitlines()[1:] == [
        "A PyTorch file does not show dtype: bfloat16 here, it loads as float32."
    ]
    with Image.open(sorted((data_dir / "Set5" / "LRx2").iterdir())[0]) as image:
        lr = np.asarray(image.convert("RGB"), np.float32)[:20, :30]
    sr = load_model(tmp_path / "run").upscale_float(lr)
    np.testing.assert_array_equal(load_model(second).upscale_float(lr), sr)
    assert np.abs(load_model(third).upscale_float(lr) - sr).max() > 0


# ---- what is refused ----


def test_what_is_there_is_kept(edsr, tmp_path):
    target = tmp_path / "a.pt"
    target.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"a\.pt, which exists; name another, or overwrite \("):
        convert(edsr, target)
    assert target.read_bytes() == b"mine"
    convert(edsr, target, overwrite=True)
    load_model(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "edsr.safetensors"]


def test_onto_itself_is_refused(edsr, tmp_path):
    before = edsr.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(edsr)
    for target in (edsr, link, tmp_path / "." / "edsr.safetensors"):
        with pytest.raises(ValueError, match="source and target are the same file"):
            convert(edsr, target, overwrite=True)
    assert edsr.read_bytes() == before


def test_other_arguments_are_refused(edsr, tmp_path):
    folder = tmp_path / "folder.pt"
    folder.mkdir()
    for source, target, message in [
        (edsr, tmp_path / "a.npz", r"its suffix must be one of \.pt, \.pth, \.safetensors"),
        (edsr, tmp_path, "its suffix must be one of"),
        (edsr, folder, "which is a folder; name a file in it"),
        ("bicubic", tmp_path / "a.pt", "source is bicubic, which has no weights"),
        (tmp_path / "none.pt", tmp_path / "a.pt", "there is no model .*none.pt"),
    ]:
        with pytest.raises(ValueError, match=message):
            convert(source, target, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edsr.safetensors", "folder.pt"]


def test_a_failure_leaves_nothing(edsr, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(edsr.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is damaged, incomplete or not a safetensors file"):
        convert(broken, tmp_path / "new" / "a.safetensors")
    cases = {
        edsr / "a.safetensors": "Not a directory",  # a file is no folder
        edsr / "new" / "a.safetensors": "Not a directory",
        tmp_path / f"{'x' * 300}.safetensors": "File name too long",
    }
    if Path("/proc").is_dir():  # where nobody can make a file
        cases[Path("/proc/a.safetensors")] = "No such file or directory"
    for target, reason in cases.items():
        message = f"target is {target}, which cannot be written ({reason}); name another"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            convert(edsr, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.safetensors", "edsr.safetensors"]


def test_a_state_dict_is_written_from_arrays(torch, tmp_path):
    arrays = to_torch(make_variables("lnln"), name="lnln", step=3)
    write_state_dict(str(tmp_path / "a.pt"), arrays)
    expected = {key: torch.from_numpy(array) for key, array in arrays.items()}
    assert_same_tensors(torch, tmp_path / "a.pt", expected)


def test_the_command(edsr, tmp_path, capsys):
    target = tmp_path / "copy.safetensors"
    assert main(["convert", str(edsr), str(target)]) == 0
    assert "edsr x2" in capsys.readouterr().out
    assert target.read_bytes() == edsr.read_bytes()
    assert main(["convert", str(edsr), str(target)]) == 1
    assert "which exists" in capsys.readouterr().err
    assert main(["convert", str(edsr), str(target), "--overwrite", "--res-scale", "0.7"]) == 1
    assert "res_scale is 0.7, but" in capsys.readouterr().err
    assert target.read_bytes() == edsr.read_bytes()


def test_upscale_takes_the_res_scale_that_the_report_asks_for(tmp_path, data_dir):
    variables = make_variables("edsr")
    path, photo = tmp_path / "a.pt", sorted((data_dir / "Set5" / "LRx2").iterdir())[0]
    write_state_dict(path, to_torch(variables, name="edsr"))
    command = [
        "upscale",
        str(photo),
        "--model",
        str(path),
        "--output",
        str(tmp_path),
        "--tile",
        "none",
    ]
    assert main([*command, "--res-scale", "0.1"]) == 0
    with Image.open(photo) as image, Image.open(next(tmp_path.glob("*.png"))) as result:
        lr, sr = (np.asarray(each.convert("RGB")) for each in (image, result))
    expected = load_model(path, res_scale=0.1).upscale(lr, border=BORDER)
    np.testing.assert_array_equal(sr, expected)
    assert (sr != load_model(path).upscale(lr, border=BORDER)).any()
