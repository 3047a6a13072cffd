"""Mean shifts in files: networks of images in 0..1, and layers that have moved in training."""

import copy

import jax
import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.models.layers import DIV2K_MEAN
from lnln_jax.weights.recognition import from_state_dict
from tests.support import parity
from tests.support.parity import SIZES, check, in_float64, make_networks, to_nchw, to_nhwc, torch

settings = parity.one_thread_and_full_precision


def in_unit_range(network):
    """The network as one that was trained with rgb_range 1: its mean is of images in 0..1."""
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        for shift in (network.sub_mean, network.add_mean):
            shift.bias.div_(255)
    return network


def moved(network):
    """The network with mean shifts that training has moved, each number otherwise."""
    network = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for shift in (network.sub_mean, network.add_mean):
            for array in (shift.weight, shift.bias):
                array.mul_(1 + 0.02 * torch.rand(array.shape, generator=generator))
                array.add_(torch.rand(array.shape, generator=generator), alpha=1e-3)
    return network


def arrays_of(network):
    return {key: tensor.numpy() for key, tensor in network.state_dict().items()}


def compare(network, path, lr, unit):
    """What PyTorch makes of an image, as 0..255, and ours with the weights of its state dict."""

    def by_pytorch(network, dtype):
        with torch.no_grad():
            return to_nhwc(network(to_nchw(lr, dtype) / unit)) * unit

    weights = from_state_dict(arrays_of(network), path)
    ours = jax.jit(weights.module().apply)(weights.variables, lr)
    theirs = by_pytorch(network, torch.float32)
    truth = by_pytorch(in_float64(network), torch.float64)
    check("output", *({"output": sr} for sr in (ours, theirs, truth)))
    return weights


@pytest.mark.parametrize("name", ["edsr", "lnln", "msrn"])
def test_networks_of_images_in_0_to_1(name, tmp_path):
    network = in_unit_range(make_networks(name, 2)[2])
    if name == "edsr":
        for block in network.body[:-1]:
            block.res_scale = 1.0  # what a file of this width is taken to have
    lr = parity.random_image(3, SIZES["odd"])
    weights = compare(network, tmp_path, lr, unit=255)
    assert weights.model.name == name
    if name == "msrn":  # whose first layer takes 0..255 and makes 0..1 of it
        bias = weights.variables["params"]["sub_mean"]["bias"]
        np.testing.assert_allclose(bias, -np.float32(DIV2K_MEAN) / 255, rtol=1e-6)


def test_a_file_of_images_in_0_to_1(tmp_path):
    """From the file to 8 bits."""
    network = in_unit_range(make_networks("edsr", 3)[2])
    path = tmp_path / "edsr.pt"
    torch.save(network.state_dict(), path)
    lr = parity.random_image(3, SIZES["even"]).astype(np.uint8)[0]
    with torch.no_grad():
        sr = 255 * to_nhwc(network(to_nchw(lr[None]) / 255))[0]
    expected = np.rint(sr.clip(0, 255))
    found = load_model(path, res_scale=0.1).upscale(lr)
    # At most where a value is nearer to a half than rounding in another order makes it.
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 1e-3


def test_another_shift_in_0_to_1_is_refused(tmp_path):
    network = in_unit_range(make_networks("edsr", 2)[2])
    network.add_mean.bias.data += 0.01
    with pytest.raises(ValueError, match=r"add_mean\.bias is \[0\.4588.* instead of \[0\.4488"):
        from_state_dict(arrays_of(network), tmp_path)


@pytest.mark.parametrize("unit", [1, 255])
def test_shifts_that_have_moved_are_taken_over(unit, tmp_path):
    network = make_networks("msrn", 2)[2]
    if unit == 255:
        network = in_unit_range(network)
    network = moved(network)
    weights = compare(network, tmp_path, parity.random_image(3, SIZES["odd"]), unit)
    if unit == 1:
        for name in ("sub_mean", "add_mean"):
            shift, layer = weights.variables["params"][name], getattr(network, name)
            np.testing.assert_array_equal(shift["bias"], layer.bias.detach())
            np.testing.assert_array_equal(shift["kernel"][0, 0].T, layer.weight[..., 0, 0].detach())
