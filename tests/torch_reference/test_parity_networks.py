"""The networks in inference, and the reference itself: its keys and its interpolation."""

import copy

import jax
import numpy as np
import pytest

from lnln_jax import torch_reference
from lnln_jax.images import resize
from lnln_jax.models import input_channels, resolve
from lnln_jax.torch_reference.vdsr import VDSR, bicubic_upsample
from tests.support import parity
from tests.support.parity import SIZES, check, in_float64, make_networks, to_nchw, to_nhwc, torch
from tests.support.small_networks import published_shapes

settings = parity.one_thread_and_full_precision


def compare(function, variables, network, x):
    """A Flax function of variables and `B H W C` with a PyTorch network."""
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        theirs = network(to_nchw(x))
        truth = in_float64(network)(to_nchw(x, torch.float64))
    ours = jax.jit(function)(variables, x)
    check("output", *({"output": sr} for sr in (ours, to_nhwc(theirs), to_nhwc(truth))))


@pytest.mark.parametrize(
    ("name", "scale", "size"),
    [
        ("lnln", 2, "even"),
        ("lnln", 3, "odd"),
        ("lnln", 4, "even"),
        ("drca", 2, "odd"),
        ("drca", 3, "even"),
        ("drca", 4, "odd"),
        ("rcan", 2, "even"),
        ("rcan", 3, "odd"),
        ("rcan", 4, "even"),
        ("edsr", 2, "odd"),
        ("edsr", 3, "even"),
        ("edsr", 4, "odd"),
        *((name, 8, "even") for name in ("lnln", "drca", "rcan", "edsr")),
        ("vdsr", 2, "even"),
        ("vdsr", 3, "odd"),
        ("vdsr", 4, "even"),
        ("rlfn", 2, "large"),
        ("rfdn", 2, "large"),
        ("imdn", 2, "odd"),
        *(
            pytest.param(name, scale, "large", marks=pytest.mark.slow)
            for name in ("rlfn", "rfdn", "imdn")
            for scale in (3, 4)
        ),
        ("carn", 2, "odd"),
        ("carn_m", 2, "even"),
        ("pan", 2, "odd"),
        *(
            pytest.param(name, scale, size, marks=pytest.mark.slow)
            for name in ("carn", "carn_m", "pan")
            for scale, size in ((3, "even"), (4, "odd"))
        ),
        ("swinir_light", 2, "odd"),
        pytest.param("swinir_light", 3, "even", marks=pytest.mark.slow),
        pytest.param("swinir_light", 4, "odd", marks=pytest.mark.slow),
        ("san", 2, "even"),
        pytest.param("san", 3, "odd", marks=pytest.mark.slow),
        pytest.param("san", 4, "even", marks=pytest.mark.slow),
        ("rdn", 2, "odd"),
        pytest.param("rdn", 3, "even", marks=pytest.mark.slow),
        pytest.param("rdn", 4, "odd", marks=pytest.mark.slow),
        *(
            pytest.param(name, scale, "odd", marks=[pytest.mark.slow] * (scale > 2))
            for name in ("msrn", "wdsr_a", "wdsr_b", "wdsr_reloaded")
            for scale in (2, 3, 4)
        ),
    ],
)
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
    ("published", "name", "scale"),
    [
        *((f"drca_x{scale}", "drca", scale) for scale in (2, 4)),
        *((f"rcan_x{scale}", "rcan", scale) for scale in (2, 4)),
        *((f"edsr_x{scale}", "edsr", scale) for scale in (2, 4)),
        *((f"edsr_baseline_x{scale}", "edsr_baseline", scale) for scale in (2, 3, 4)),
        ("vdsr", "vdsr", 2),
        *((f"{name}_x{n}", name, n) for name in ("rlfn", "rlfn_s", "imdn") for n in (2, 3, 4)),
        ("rlfn_ntire_x4", "rlfn_ntire", 4),
        ("rfdn_aim_x4", "rfdn", 4),
        *((f"carn_x{scale}", "carn", scale) for scale in (2, 3, 4)),
        *((f"carn_m_x{scale}", "carn_m", scale) for scale in (2, 3, 4)),
        *((f"pan_x{scale}", "pan", scale) for scale in (2, 3, 4)),
        ("carn_multi", "carn_multi", 2),
        ("carn_m_multi", "carn_m_multi", 3),
        *((f"swinir_light_x{scale}", "swinir_light", scale) for scale in (2, 3, 4)),
        *((f"san_x{scale}", "san", scale) for scale in (2, 3, 4)),
        *((f"rdn_x{scale}", "rdn", scale) for scale in (2, 3, 4)),
        ("rdn_a_x2", "rdn_a", 2),
        *(
            (f"{name}_x{scale}", name, scale)
            for name in ("msrn", "wdsr_a", "wdsr_b", "wdsr_reloaded")
            for scale in (2, 3, 4)
        ),
    ],
)
def test_reference_has_the_published_keys(published, name, scale):
    name, options = resolve(name)
    with torch.device("meta"):  # full size, without the memory
        network = torch_reference.NETWORKS[name](scale, **options)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes == published_shapes(published)
