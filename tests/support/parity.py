"""What the comparisons with PyTorch share: small networks in both, and the yardstick.

The truth is the PyTorch reference in float64. The same reference in float32 shows how near to the
truth float32 comes, and ours has to come as near, up to a factor. `pytest -rP` prints all errors;
docs/parity.md has them in a table.
"""

import copy
from functools import cache

import jax
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.variables import abstract_variables
from lnln_jax.weights.torch_port import from_torch

torch = pytest.importorskip(
    "torch", reason="nothing to compare with: install the torch extra (make test TORCH=1)"
)

from lnln_jax import torch_reference  # noqa: E402  (it needs torch)

_GROUPS = {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 16, "reduction": 4}
SMALL = {
    "lnln": _GROUPS,
    "drca": _GROUPS,
    "rcan": _GROUPS,
    "edsr": {"n_resblocks": 3, "n_feats": 16, "res_scale": 0.1},
    "vdsr": {"n_layers": 5, "n_feats": 16},
    "rlfn": {"n_resblocks": 2, "n_feats": 8, "n_mid_feats": 6, "n_attention_feats": 4},
    "rfdn": {"n_resblocks": 2, "n_feats": 12},
    "imdn": {"n_resblocks": 2, "n_feats": 8, "reduction": 4},
    "carn": {"n_feats": 8},
    "carn_m": {"n_feats": 8, "groups": 2},
    "pan": {"n_resblocks": 2, "n_feats": 8, "n_upsampler_feats": 6},
    "san": {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4},
    "rdn": {"n_resblocks": 2, "n_layers": 3, "growth_rate": 8, "n_feats": 12},
    "wdsr_a": {"n_resblocks": 2, "n_feats": 8, "block_feats": 12, "res_scale": 0.5},
    "wdsr_b": {"n_resblocks": 2, "n_feats": 8, "block_feats": 12, "low_rank_feats": 6},
    "wdsr_reloaded": {"n_resblocks": 2, "n_feats": 8, "block_feats": 12},
    "msrn": {"n_resblocks": 2, "n_feats": 8},
    "swinir_light": {
        "n_resgroups": 2,
        "n_resblocks": 2,
        "n_feats": 12,
        "n_heads": 3,
        "drop_path": 0.0,
    },
}
SIZES = {"even": (12, 10), "odd": (11, 13), "large": (22, 27)}
# Seeds of weights with which no ReLU's input is so near to zero that rounding decides its sign.
SEEDS = {
    "lnln": 9,
    "drca": 35,
    "rcan": 56,
    "edsr": 0,
    "vdsr": 2,
    "rlfn": 1,
    "rfdn": 16,
    "imdn": 0,
    "swinir_light": 0,
    "carn": 3,
    "carn_m": 1,
    "pan": 0,
    "rdn": 0,
    "wdsr_a": 0,
    "wdsr_b": 1,
    "wdsr_reloaded": 3,
    "msrn": 5,
    "san": 3,
}

# Ours may be FACTOR times as far from the truth as PyTorch, plus FLOOR where PyTorch is lucky.
# Measured for errors above 1e-6: up to 1.5 times as far, 5.4 times when PyTorch's sums over the
# pixels are split among two threads, so that fewer values are added one after another.
EPSILON = float(np.finfo(np.float32).eps)
FACTOR, FLOOR = 8, 8 * EPSILON
# And no farther than this, as a share of the norm.
LIMITS = {
    "output": 1e-6,  # measured 5.4e-7 for VDSR, whose features grow layer by layer, else 3.1e-7
    "gradients": 2e-5,  # measured 9.0e-6: sums over all pixels, added one after another
    "statistics": 5e-6,  # measured 2.4e-7, and 1.5e-6 after ten steps
    "losses": 2e-6,  # measured 8.5e-7: a sum over all pixels
    "parameters": 5e-6,  # measured 1.2e-6
    "changes": 1e-4,  # measured 4.0e-5: Adam makes the noise of small gradients as large as others'
}


@pytest.fixture(autouse=True)
def one_thread_and_full_precision():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine PyTorch's threads spend minutes waiting for others
    with jax.default_matmul_precision("highest"):  # on a GPU the default is TensorFloat-32
        yield
    torch.set_num_threads(threads)


@cache
def make_networks(name, scale):
    """A Flax module, its variables, and the PyTorch network that they come from."""
    torch.manual_seed(SEEDS[name])
    network = torch_reference.NETWORKS[name](scale, **SMALL[name])
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(std=0.3)
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
            if hasattr(layer, "weight_g"):  # at first |v|, by which the norm goes unseen
                layer.weight_g.mul_(torch.empty_like(layer.weight_g).uniform_(0.5, 1.5))
            if isinstance(layer, torch.nn.LayerNorm):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(std=0.3)
        if name in ("lnln", "san"):
            attention = network.non_local if name == "lnln" else network.non_local.non_local
            attention.W.weight.normal_(std=0.2)
            attention.W.bias.normal_(std=0.2)
            # Features are in the tens: unscaled, each position would attend to a single other one.
            attention.theta.weight.mul_(0.05)
            (attention.phi if name == "lnln" else attention.phi[0]).weight.mul_(0.05)
        if name == "san":
            network.gamma.fill_(0.3)
    module = create_model(name, scale, **SMALL[name])
    like = abstract_variables(module)
    return module, from_torch(network.state_dict(), name=name, like=like), network


def random_image(seed, size, channels=3):
    shape = (2, *size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)


def random_features(seed, shape):
    """As large as the features of the networks."""
    return np.random.default_rng(seed).normal(0, 30, shape).astype(np.float32)


def to_nchw(x, dtype=torch.float32):
    return torch.from_numpy(np.moveaxis(np.asarray(x), -1, 1).copy()).to(dtype)


def to_nhwc(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def in_float64(network):
    return copy.deepcopy(network).double()


def error(value, truth):
    """The norm of the difference as a share of the true norm."""
    return np.linalg.norm(np.ravel(value - truth)) / np.linalg.norm(np.ravel(truth))


def check(what, ours, theirs, truth):
    """Compares arrays by name: the worst of ours with the worst of PyTorch's and with `LIMITS`."""
    errors = {key: error(ours[key], truth[key]) for key in truth}
    worst, expected = max(errors, key=errors.get), max(error(theirs[k], truth[k]) for k in truth)
    print(f"{what}: {errors[worst]:.1e}, PyTorch {expected:.1e} (ours is worst in {worst})")
    limit = min(FACTOR * expected + FLOOR, LIMITS[what])
    assert errors[worst] <= limit, f"{what}: {worst} is off by {errors[worst]:.1e} > {limit:.1e}"


def watch_kinks(network):
    """A list that collects how near ReLUs and pools come to kinks, as a share of their largest.

    That is the smallest input of a ReLU, and the least lead of a largest value over the second.
    """
    margins = []

    def hook(layer, inputs):
        x = inputs[0].detach()
        leads = x.abs()
        if isinstance(layer, torch.nn.MaxPool2d):
            planes = x.flatten(0, 1)[:, None]
            windows = torch.nn.functional.unfold(planes, layer.kernel_size, stride=layer.stride)
            leads = -windows.topk(2, dim=1).values.diff(dim=1)
        margins.append((leads.min() / x.abs().max()).item())

    for layer in network.modules():
        if isinstance(layer, torch.nn.ReLU | torch.nn.LeakyReLU | torch.nn.MaxPool2d):
            layer.register_forward_pre_hook(hook)
    return margins


def assert_no_ties(margins):
    """At a kink rounding chooses between two gradients, and there is nothing to compare."""
    assert min(margins, default=1) > 10 * EPSILON, "a value is too near a kink: change the seed"


def get_gradients(network):
    return {key: p.grad.numpy() for key, p in network.named_parameters() if p.requires_grad}


def get_statistics(network):
    return {k: v.numpy() for k, v in network.named_buffers() if "num_batches_tracked" not in k}
