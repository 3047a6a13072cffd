"""Files that PyTorch writes are read, and those that are written here PyTorch reads."""

import copy
import warnings

import numpy as np
import pytest
from PIL import Image

from lnln_jax import load_model
from lnln_jax.images.arrays import rgb_to_y
from lnln_jax.models import create_model
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.torch_files import read_state_dict, write_state_dict
from tests.support.small_networks import OPTIONS, assert_same
from tests.support.torch_files import MARK, edsr_state, save, save_by_pytorch, tensors_of

torch = pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")

from lnln_jax import torch_reference  # noqa: E402  (it needs torch)

HINTS = {"vdsr": {"scale": 2}}  # for a file that does not show it
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def bits(tensor):
    """The values of a tensor of any dtype as whole numbers."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy()


def assert_read(path, tensors):
    """What is read has PyTorch's keys in their order, with its dtypes, shapes and bits."""
    arrays = read_state_dict(path)
    assert list(arrays) == list(tensors)
    for key, tensor in tensors.items():
        array = arrays[key]
        assert (array.dtype.name, array.shape) == (str(tensor.dtype)[6:], tuple(tensor.shape)), key
        np.testing.assert_array_equal(np.ravel(array).view(np.uint8), bits(tensor), key)


# ---- what PyTorch writes ----


@pytest.fixture(scope="module")
def lr(data_dir):
    """A part of a real LR image, float32 `H W 3`."""
    with Image.open(sorted((data_dir / "Set5" / "LRx2").iterdir())[1]) as image:
        return np.asarray(image.convert("RGB"), np.float32)[40:64, 60:82]


@pytest.mark.parametrize(
    ("name", "zipped"),
    [("lnln", True), ("drca", False), ("rcan", True), ("edsr", False), ("vdsr", True)],
)
def test_a_file_computes_what_pytorch_computes(name, zipped, tmp_path, lr):
    torch.manual_seed(0)
    network = torch_reference.NETWORKS[name](2, **OPTIONS[name]).eval()
    if name == "lnln":
        network.non_local.W.weight.data.normal_(std=0.2)  # zero before training
        network.non_local.theta.weight.data.mul_(0.05)
    path = save_by_pytorch(tmp_path / f"{name}_x2.pt", network.state_dict(), zipped=zipped)
    model = load_model(path, **HINTS.get(name, {}))
    assert (model.name, model.scale) == (f"{name}_x2", 2)
    assert model.module == create_model(name, 2, **OPTIONS[name])

    sr = model.upscale_float(lr)
    if name == "vdsr":
        lr, sr = rgb_to_y(lr)[..., None], rgb_to_y(sr)[..., None]
    with torch.no_grad():
        expected = network(torch.from_numpy(lr.transpose(2, 0, 1)[None].copy()))
    np.testing.assert_allclose(sr, expected[0].numpy().transpose(1, 2, 0), rtol=0, atol=1e-3)


@FORMATS
@pytest.mark.parametrize(
    "dtype",
    [
        *("float16", "bfloat16", "float32", "float64", "int64"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    ],
)
def test_every_dtype_keeps_its_bits(dtype, zipped, tmp_path):
    tensor = torch.randint(0, 256, (3, 4, 64), dtype=torch.uint8).view(getattr(torch, dtype))
    tensors = {MARK: tensor, "b": tensor[1:, 2], "c": tensor[0, 0, 0].clone(), "d": tensor.mT}
    assert_read(save_by_pytorch(tmp_path / "x.pt", tensors, zipped=zipped), tensors)


@FORMATS
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_protocol(protocol, zipped, tmp_path):
    tensors = tensors_of(edsr_state()[1])
    torch.save(
        tensors,
        tmp_path / "x.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    assert_read(tmp_path / "x.pt", tensors)


@FORMATS
def test_tensors_of_all_kinds(zipped, tmp_path):
    row = torch.arange(60, dtype=torch.float32)
    parameter = torch.nn.Parameter(row.reshape(3, 20).clone())
    parameter.note = "kept by _rebuild_parameter_with_state"
    tensors = {
        MARK: parameter,
        "buffer": torch.nn.Buffer(row[:3].clone()),
        "shared": row[5:],
        "strided": row.reshape(6, 10)[::2, 1::3],
        "repeated": row[4:5].expand(2, 7),
        "empty": torch.empty(0, 3),
        "count": torch.tensor(3),
    }
    path = save_by_pytorch(tmp_path / "x.pt", {"params": tensors}, zipped=zipped)
    assert_read(path, {key: tensor.detach() for key, tensor in tensors.items()})


def test_files_without_checksums(tmp_path):
    tensors = tensors_of(edsr_state()[1])
    computed = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tensors, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(computed)
    assert_read(tmp_path / "x.pt", tensors)


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(),
        torch.ones(3, dtype=torch.int8),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
        torch.ones(3, device="meta"),
    ],
    ids=lambda value: f"{value.layout} {value.dtype} {value.device}",
)
def test_other_tensors_are_refused(value, tmp_path):
    path = save_by_pytorch(tmp_path / "x.pt", {MARK: value, "a": torch.ones(3)})
    with pytest.raises(ValueError, match=rf"x\.pt holds what is not an array .* \({MARK}\)"):
        load_model(path)


@FORMATS
@pytest.mark.parametrize(
    "wrap",
    [
        lambda network: network,
        lambda network: {"epoch": 50, "model": network},
        torch.nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
    ],
    ids=["alone", "in a dictionary", "DataParallel", "AveragedModel"],
)
@pytest.mark.parametrize("name", ["edsr", "drca", "vdsr"])
def test_a_whole_network_is_read_without_its_class(name, wrap, zipped, tmp_path):
    torch.manual_seed(0)
    network = torch_reference.NETWORKS[name](2, **OPTIONS[name]).eval()
    path = save_by_pytorch(tmp_path / "x.pt", network.state_dict())
    expected = load_weights(path, **HINTS.get(name, {}))
    path = save_by_pytorch(tmp_path / "y.pt", wrap(network), zipped=zipped)
    weights = load_weights(path, **HINTS.get(name, {}))
    assert weights.model == expected.model
    assert_same(weights.variables, expected.variables)


@FORMATS
def test_a_checkpoint_of_a_training_run(zipped, tmp_path, capfd):
    network = torch_reference.NETWORKS["edsr"](2, **OPTIONS["edsr"])
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    network(torch.zeros(1, 3, 6, 6)).mean().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3])
    tree = {
        "params": network.state_dict(),
        "params_ema": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(),
        "numpy": np.random.default_rng(0).normal(size=3),
        "epoch": np.int64(3),
    }
    path = save_by_pytorch(tmp_path / "x.pt", tree, zipped=zipped)
    assert_read(path, average.state_dict())
    assert "params_ema is taken; left out: params, rng\n" in capfd.readouterr().err


def test_ten_thousand_small_tensors_may_be_beside(tmp_path):
    """More memory than twice the file."""
    tensors = tensors_of(edsr_state()[1])
    state = {i: {"exp_avg": torch.zeros(1)} for i in range(10_000)}
    tree = {"model": tensors, "optimizer": {"state": state}}
    assert_read(save_by_pytorch(tmp_path / "x.pt", tree), tensors)


@FORMATS
@pytest.mark.parametrize("dtype", ["qint8", "quint8", "qint32"])
def test_quantised_tensors_may_be_beside(dtype, zipped, tmp_path):
    tensors = tensors_of(edsr_state()[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated; the files are not gone
        other = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, getattr(torch, dtype))
        tree = {"first": other, "model": tensors}
        assert_read(save_by_pytorch(tmp_path / "x.pt", tree, zipped=zipped), tensors)


def test_a_torchscript_archive_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; its files are not gone
        torch.jit.script(torch.nn.Conv2d(3, 3, 1)).save(tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt is a TorchScript archive, which holds a program"):
        load_model(tmp_path / "x.pt")


# ---- what PyTorch reads ----


@FORMATS
def test_pytorch_reads_what_the_tests_write(zipped, tmp_path):
    arrays = edsr_state()[1] | {"shared": edsr_state()[1]["head.0.weight"].T}
    tensors = torch.load(save(tmp_path / "x.pt", arrays, zipped=zipped), weights_only=True)
    assert list(tensors) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(tensors[key].numpy(), array, strict=True)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool"]
)
def test_pytorch_reads_what_is_written(dtype, mapped, tmp_path):
    tensor = torch.arange(60).reshape(3, 4, 5).to(getattr(torch, dtype))
    tensors = {"b": tensor, "a": tensor[0, 0, 0], "empty": tensor[:0], "é\n": tensor[1].T}
    save_by_pytorch(tmp_path / "x.pt", {MARK: torch.ones(3)} | tensors)
    arrays = {key: array_of(tensor) for key, tensor in tensors.items()}
    write_state_dict(tmp_path / "x.pt", arrays)
    read = torch.load(tmp_path / "x.pt", weights_only=True, mmap=mapped)
    assert list(read) == list(tensors)
    for key, expected in tensors.items():
        assert (read[key].dtype, read[key].shape) == (expected.dtype, expected.shape)
        assert read[key].is_contiguous()
        assert torch.equal(read[key], expected)


def array_of(tensor):
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view("bfloat16")
    return tensor.numpy()
