"""PyTorch files in: formats, wrappers, dtypes, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lnln_jax import load_model
from lnln_jax.images.arrays import rgb_to_y
from lnln_jax.models import create_model
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.safetensors_files import save_safetensors
from lnln_jax.weights.torch_files import read_state_dict
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables
from tests.support.torch_files import edsr_state, save

torch = pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")

import safetensors.torch  # noqa: E402  (it needs torch)

from lnln_jax import torch_reference  # noqa: E402  (it needs torch)

MARK = "body.0.body.0.weight"  # by which EDSR is known
SCALE_ARGUMENTS = {"vdsr": {"scale": 2}}  # of load_model, for a file that does not show it


@pytest.fixture(scope="module")
def edsr():
    return edsr_state()


@pytest.fixture(scope="module")
def lr(data_dir):
    """A part of a real LR image, float32 `H W 3`."""
    with Image.open(sorted((data_dir / "Set5" / "LRx2").iterdir())[1]) as image:
        return np.asarray(image.convert("RGB"), np.float32)[40:64, 60:82]


# ---- what is read ----


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_computes_what_pytorch_computes(name, zipped, tmp_path, lr):
    torch.manual_seed(0)
    network = torch_reference.NETWORKS[name](2, **OPTIONS[name]).eval()
    if name == "lnln":
        network.non_local.W.weight.data.normal_(std=0.2)  # zero before training
        network.non_local.theta.weight.data.mul_(0.05)
    path = save(tmp_path / f"{name}_x2.pt", network.state_dict(), zipped=zipped)
    model = load_model(path, **SCALE_ARGUMENTS.get(name, {}))
    assert (model.name, model.scale) == (f"{name}_x2", 2)
    assert model.module == create_model(name, 2, **OPTIONS[name])

    sr = model.upscale_float(lr)
    if name == "vdsr":
        lr, sr = rgb_to_y(lr)[..., None], rgb_to_y(sr)[..., None]
    with torch.no_grad():
        expected = network(torch.from_numpy(lr.transpose(2, 0, 1)[None].copy()))
    np.testing.assert_allclose(sr, expected[0].numpy().transpose(1, 2, 0), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"]
)
def test_a_file_of_another_dtype_loads_as_float32(dtype, edsr, tmp_path):
    _, state_dict = edsr
    tensors = {key: value.to(getattr(torch, dtype)) for key, value in state_dict.items()}
    path = save(tmp_path / "x.pt", tensors)
    assert {array.dtype.name for array in read_state_dict(path).values()} == {dtype}
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    for file in (path, tmp_path / "x.safetensors"):
        kernel = load_weights(file).variables["params"]["tail"]["kernel"]
        expected = tensors["tail.1.weight"].float().numpy()
        np.testing.assert_array_equal(kernel, np.moveaxis(expected, (0, 1), (3, 2)), strict=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_that_were_half_for_a_while_load(dtype, edsr, tmp_path):
    tensors = {key: value.to(dtype).float() for key, value in edsr[1].items()}
    assert load_weights(save(tmp_path / "x.pt", tensors)).model.name == "edsr"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("factor", "key", "message"),
    [
        (1 / 255, "_mean.bias", r"sub_mean\.bias is .* instead of .*: .* images in 0\.\.1"),
        (1.05, "_mean.bias", r"add_mean\.bias is .* instead of \[114"),
        (0.5, "_mean.weight", r"sub_mean\.weight is \[0\.5, .* instead of \[1, 0, "),
    ],
)
def test_another_mean_shift_is_refused(factor, key, message, dtype, edsr, tmp_path):
    tensors = {
        name: (value * factor if name.endswith(key) else value).to(dtype)
        for name, value in edsr[1].items()
    }
    with pytest.raises(ValueError, match=rf"(?s)taken for edsr x2.*{message}"):
        load_weights(save(tmp_path / "x.pt", tensors))


def test_counts_of_batches_tell_the_step_and_may_be_absent(tmp_path):
    variables = make_variables("drca")
    arrays = to_torch(variables, name="drca", step=7)
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    weights = load_weights(save(tmp_path / "x.pt", tensors))
    assert weights.step == 7
    tensors = {key: v for key, v in tensors.items() if not key.endswith("num_batches_tracked")}
    weights = load_weights(save(tmp_path / "y.pt", tensors))
    assert weights.step == 0
    assert_same(weights.variables, variables)


# ---- what cannot be seen in the file ----


def test_the_scale_of_vdsr_is_an_argument(tmp_path):
    tensors = {
        key: torch.from_numpy(a) for key, a in to_torch(make_variables("vdsr"), name="vdsr").items()
    }
    path = save(tmp_path / "x.pt", tensors)
    assert load_model(path, scale=3).module == create_model("vdsr", 3, **OPTIONS["vdsr"])
    with pytest.raises(
        ValueError, match=r"x\.pt: the weights of vdsr do not show the scale; give scale"
    ):
        load_model(path)
    assert load_weights(path, default_scale=4).model.scale == 4
    assert load_weights(path, scale=3, default_scale=4).model.scale == 3
    with pytest.raises(ValueError, match=r"x\.pt, taken for vdsr x5 .*: scale is 5; it must be"):
        load_model(path, scale=5)
    with pytest.raises(ValueError, match=r"res_scale is 0\.1, but .*x\.pt has none; leave it out"):
        load_model(path, scale=2, res_scale=0.1)


def test_a_default_scale_does_not_overrule_what_shows(edsr, tmp_path):
    path = save(tmp_path / "x.pt", edsr[1])
    assert load_weights(path, default_scale=4).model.scale == 2


def test_the_res_scale_of_edsr_is_an_argument(edsr, tmp_path):
    path = save(tmp_path / "x.pt", edsr[1])
    assert load_model(path).module.res_scale == 1.0
    assert load_model(path, res_scale=0.1).module.res_scale == 0.1
    with pytest.raises(ValueError, match=r"res_scale is -1(\.0)?; it must be a number above 0"):
        load_model(path, res_scale=-1)
    with pytest.raises(ValueError, match=r"x\.pt upscales x2, not x4"):
        load_model(path, scale=4)


# ---- what does not fit ----


def test_what_does_not_fit_is_listed(edsr, tmp_path):
    tensors = dict(edsr[1])
    del tensors["body.1.body.0.bias"], tensors["tail.0.0.weight"], tensors["head.0.weight"]
    tensors["tail.1.bias"] = torch.zeros(4)
    tensors["tail.2.bias"] = torch.zeros(4)
    path = save(tmp_path / "x.pt", tensors)
    found = r"x\.pt, taken for edsr x2 \(n_resblocks 3, n_feats 8, res_scale 1\.0\): "
    with pytest.raises(ValueError, match=found) as error:
        load_weights(path)
    assert str(error.value).splitlines()[1:] == [
        "  missing body.1.body.0.bias",
        "  missing head.0.weight",
        "  missing tail.0.0.weight",
        "  tail.1.bias has shape (4,) instead of (3,)",
        "  unexpected tail.2.bias",
    ]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"conv_first.weight": torch.zeros(8, 3, 3, 3)}, "no known network .*: conv_first.weight;"),
        (
            {str(i): torch.zeros(1) for i in range(9)},
            r"no known network .*: 0, 1, 2, 3, 4, \.\.\.;",
        ),
        ({"epoch": 3, "net": {"a": torch.zeros(1)}}, r"no known network .*: epoch, net\.a;"),
        ({MARK: torch.eye(3).to_sparse()}, rf"not an array .*\n  '{MARK}'"),
        ({MARK: torch.ones(3, dtype=torch.int8)}, rf"not an array .*\n  '{MARK}'"),
        ({MARK: torch.ones(3, dtype=torch.complex64)}, rf"not an array .*\n  '{MARK}'"),
        (
            {MARK: torch.ones(3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)},
            rf"not an array .*\n  '{MARK}'",
        ),
        ({MARK: torch.ones(3), "epoch": 3}, r"not an array .*\n  'epoch'"),
        ({3: torch.zeros(1)}, "holds no state dict but a dict"),
        (torch.zeros(3), "holds no state dict but a Tensor; save model.state_dict()"),
        ([torch.zeros(3)], "holds no state dict but a list; save model.state_dict()"),
        ({"state_dict": {}}, "holds no state dict but a dict; save model.state_dict()"),
        ({MARK: torch.zeros(1).expand(10**9)}, "smaller than the arrays that it claims"),
    ],
)
def test_other_contents_are_refused(tree, message, tmp_path):
    path = save(tmp_path / "x.pt", tree)
    with pytest.raises(ValueError, match=rf"(?s)x\.pt.*{message}"):
        load_model(path)


def test_a_dictionary_in_itself_ends(tmp_path):
    tree = {}
    tree["model"] = tree["net"] = tree
    with pytest.raises(ValueError, match="holds no state dict but a dict"):
        load_model(save(tmp_path / "x.pt", tree))


def test_a_huge_index_is_not_believed(edsr, tmp_path):
    extra = {"body.99999999.body.0.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"n_resblocks 3.*\n  unexpected body\.99999999\."):
        load_model(save(tmp_path / "x.pt", edsr[1] | extra))


# ---- without PyTorch ----


def test_pytorch_is_needed_for_its_files_alone(edsr, tmp_path):
    path = save(tmp_path / "x.pt", edsr[1])
    weights = load_weights(path)
    save_safetensors(tmp_path / "x.safetensors", weights.model, weights.variables)
    code = f"""
import sys
sys.modules["torch"] = None  # an import of torch fails
from lnln_jax.weights.convert import convert
from lnln_jax.inference.loading import load_model
print(load_model({str(tmp_path / "x.safetensors")!r}).name)
for call in (load_model, lambda path: convert(path, path.replace("x.pt", "y.pt"))):
    try:
        call({str(path)!r})
    except RuntimeError as error:
        print(error)
"""
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.stderr == ""
    name, *errors = process.stdout.splitlines()
    assert name == "x"
    assert len(errors) == 2
    for error in errors:
        assert 'a PyTorch file needs torch: pip install "lnln-jax[torch]"; or convert' in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pt", "x.safetensors"]
