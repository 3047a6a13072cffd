"""The networks in inference, and the reference itself: its keys and its interpolation."""

import copy

import jax
import numpy as np
import pytest

from lnln_jax import torch_reference
from lnln_jax.images import resize
from lnln_jax.models import ALL_SCALES, input_channels, resolve
from lnln_jax.torch_reference.vdsr import VDSR, bicubic_upsample
from tests.support import parity
from tests.support.parity import SIZES, check, in_float64, make_networks, to_nchw, to_nhwc, torch
from tests.support.small_networks import PUBLISHED, published_shapes

settings = parity.one_thread_and_full_precision

# Sizes of images at x2, x3, x4 and x8. Other scales differ in the upsampler, a layer by itself too.
IMAGES = {
    "lnln": ("even", "odd", "even", "even"),
    "drca": ("odd", "even", "odd", "even"),
    "rcan": ("even", "odd", "even", "even"),
    "edsr": ("odd", "even", "odd", "even"),
    "vdsr": ("even", "odd", "even"),
    "rlfn": ("large", "large", "large"),
    "rfdn": ("large", "large", "large"),
    "imdn": ("odd", "large", "large"),
    "carn": ("odd", "even", "odd"),
    "carn_m": ("even", "even", "odd"),
    "pan": ("odd", "even", "odd"),
    "san": ("even", "odd", "even"),
    "swinir_light": ("odd", "even", "odd"),
    "rdn": ("odd", "even", "odd"),
    "msrn": ("odd", "odd", "odd"),
    "wdsr_a": ("odd", "odd", "odd"),
    "wdsr_b": ("odd", "odd", "odd"),
    "wdsr_reloaded": ("odd", "odd", "odd"),
}
CASES = [
    pytest.param(name, scale, size, marks=[pytest.mark.slow] * (scale > 2))
    for name, sizes in IMAGES.items()
    for scale, size in zip(ALL_SCALES, sizes, strict=False)
]


def compare(function, variables, network, x):
    """A Flax function of variables and `B H W C` with a PyTorch network."""
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        theirs = network(to_nchw(x))
        truth = in_float64(network)(to_nchw(x, torch.float64))
    ours = jax.jit(function)(variables, x)
    check("output", *({"output": sr} for sr in (ours, to_nhwc(theirs), to_nhwc(truth))))


@pytest.mark.parametrize(("name", "scale", "size"), CASES)
def test_inference(name, scale, size):
    """VDSR: the whole chain, from the LR luma in 0..255 through the interpolation."""
    module, variables, network = make_networks(name, scale)
    lr = parity.random_image(3, SIZES[size], input_channels(module))
    compare(module.apply, variables, network, lr)


def test_vdsr_without_its_interpolation():
    """The map of the published checkpoint: interpolated luma in 0..1, here by `imresize`."""
    module, variables, network = make_networks("vdsr", 3)
    bare = VDSR(**parity.SMALL["vdsr"])
    bare.load_state_dict(network.state_dict())
    lr = parity.random_image(3, SIZES["odd"], 1) / np.float32(255)
    x = np.stack([resize.imresize(image, 3) for image in lr])
    compare(lambda v, x: module.apply(v, x, method="refine"), variables, bare, x)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolation(scale):
    lr = parity.random_image(4, SIZES["odd"])
    ours = resize.bicubic_upsample(lr, scale)
    theirs = to_nhwc(bicubic_upsample(to_nchw(lr), scale))
    truth = np.stack([resize.imresize(image.astype(np.float64), scale) for image in lr])
    check("output", *({"interpolated": x} for x in (ours, theirs, truth)))
    theirs = to_nhwc(bicubic_upsample(to_nchw(lr, torch.float64), scale))
    assert parity.error(theirs, truth) < 1e-14


@pytest.mark.parametrize(
    ("published", "name", "scale"), [(file, *network) for file, network in PUBLISHED.items()]
)
def test_reference_has_the_published_keys(published, name, scale):
    name, options = resolve(name)
    with torch.device("meta"):  # full size, without the memory
        network = torch_reference.NETWORKS[name](scale, **options)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes == published_shapes(published)
