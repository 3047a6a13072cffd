"""The Flax networks compute what PyTorch computes, and train as PyTorch trains.

The truth is the PyTorch reference in float64. The same reference in float32 shows how near to it
float32 comes, and ours has to come as near, up to `FACTOR`. `pytest -rP` prints every error;
docs/parity.md has them in a table.
"""

import copy
import re
from functools import cache
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from lnln_jax import layers
from lnln_jax.config import OptimizerConfig
from lnln_jax.models import create_model
from lnln_jax.models.residual_groups import ResidualBlock, ResidualGroup
from lnln_jax.ops import pixel_shuffle
from lnln_jax.optim import make_optimizer
from lnln_jax.torch_port import from_torch, to_torch

torch = pytest.importorskip(
    "torch", reason="nothing to compare with: install the torch extra (make test TORCH=1)"
)

import torch_reference  # noqa: E402  (it needs torch)

SMALL = {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 16, "reduction": 4}
EVEN, ODD = (12, 10), (11, 13)
NETWORKS = ("lnln", "drca")
TRAINING_SIZES = {"lnln": ODD, "drca": EVEN}
# With these weights no ReLU gets an input so near to zero that rounding could change its sign.
SEEDS = {"lnln": 9, "drca": 35}
EPSILON = float(np.finfo(np.float32).eps)
FACTOR, FLOOR = 4, 8 * EPSILON


@pytest.fixture(autouse=True)
def _two_threads_and_full_precision():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with jax.default_matmul_precision("highest"):  # on a GPU the default is TensorFloat-32
        yield
    torch.set_num_threads(threads)


@cache
def make_networks(name, scale):
    """A Flax module, its variables, and the PyTorch network that they come from."""
    torch.manual_seed(SEEDS[name])
    network = {"lnln": torch_reference.LNLN, "drca": torch_reference.DRCA}[name](scale, **SMALL)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(std=0.3)
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
        if name == "lnln":
            network.non_local.W.weight.normal_(std=0.2)
            network.non_local.W.bias.normal_(std=0.2)
            # Features are in the tens: unscaled, each position would attend to a single other one.
            network.non_local.theta.weight.mul_(0.05)
            network.non_local.phi.weight.mul_(0.05)
    module = create_model(name, scale, **SMALL)
    like = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return module, from_torch(network.state_dict(), name=name, like=like), network


def is_cancelled(key):
    """Whether a PyTorch key is that of a bias which the next operation takes away again.

    In training BatchNorm subtracts the mean, and with it what its convolution adds to a channel (a
    separable convolution: what both of its halves add); the softmax over positions j cancels
    theta_i . bias(phi). The gradients are zero but for rounding.
    """
    before_norm = r"body\.\d+\.body\.\d+\.body\.[03](\.depthwise|\.pointwise)?\.bias"
    return key == "non_local.phi.bias" or re.fullmatch(before_norm, key) is not None


def random_image(seed, size):
    return np.random.default_rng(seed).integers(0, 256, (2, *size, 3)).astype(np.float32)


def random_features(seed, size, channels):
    """As large as the features of the networks."""
    return np.random.default_rng(seed).normal(0, 30, (2, *size, channels)).astype(np.float32)


def random_cotangent(shape):
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def to_nchw(x, dtype=torch.float32):
    return torch.from_numpy(np.moveaxis(np.asarray(x), -1, 1).copy()).to(dtype)


def to_nhwc(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def error(value, truth):
    """The largest difference, as a share of the largest true value."""
    return np.abs(value - truth).max() / np.abs(truth).max()


def check(what, ours, theirs, truth):
    """Compares dictionaries of arrays; the worst of ours may be FACTOR times the worst of theirs."""
    assert ours.keys() == theirs.keys() == truth.keys()
    errors = {key: error(ours[key], truth[key]) for key in truth}
    worst, expected = max(errors, key=errors.get), max(error(theirs[k], truth[k]) for k in truth)
    print(f"{what}: {errors[worst]:.1e}, PyTorch {expected:.1e} (worst: {worst})")
    assert errors[worst] <= FACTOR * expected + FLOOR, f"{what}: {worst} is off by {errors[worst]}"


def watch_relus(network):
    """A list that gets the smallest input of each ReLU, as a share of the largest."""
    margins = []

    def hook(_, inputs):
        magnitudes = inputs[0].detach().abs()
        margins.append((magnitudes.min() / magnitudes.max()).item())

    for layer in network.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.register_forward_pre_hook(hook)
    return margins


def assert_no_ties(margins):
    """At a kink rounding decides between two gradients, and nothing could be compared."""
    assert min(margins, default=1) > 10 * EPSILON, "a value is too near the kink; change the seed"


def without_counts(buffers):
    return {k: v.numpy() for k, v in buffers if not k.endswith("num_batches_tracked")}


# --- layers -----------------------------------------------------------------------------------


class Layer(NamedTuple):
    """A layer with the weights that it has in a network."""

    network: str
    module: nn.Module
    flax_path: str
    torch_path: str
    channels: int
    scale: int = 2


LAYERS = {
    "conv 3x3": Layer("drca", layers.Conv(16), "head", "head.0", 3),
    "conv 1x1": Layer("drca", layers.Conv(16, 1), "body/projection", "body.2", 48),
    "depthwise": Layer("lnln", layers.DepthwiseConv(), "head/depthwise", "head.0.depthwise", 3),
    "separable": Layer("lnln", layers.DepthwiseSeparableConv(16), "head", "head.0", 3),
    "norm": Layer(
        "lnln", layers.BatchNorm(), "body/group_1/first/norm_1", "body.0.body.0.body.1", 16
    ),
    "channel attention": Layer(
        "lnln",
        layers.ChannelAttention(4),
        "body/group_1/first/attention",
        "body.0.body.0.body.5",
        16,
    ),
    "non-local": Layer("lnln", layers.RegionNonLocal(8), "non_local", "non_local", 16),
    "upsampler x2": Layer("lnln", layers.Upsampler(2, separable=True), "upsampler", "tail.0", 16),
    "upsampler x3": Layer("drca", layers.Upsampler(3), "upsampler", "tail.0", 16, scale=3),
    "upsampler x4": Layer(
        "lnln", layers.Upsampler(4, separable=True), "upsampler", "tail.0", 16, scale=4
    ),
    "block": Layer(
        "lnln",
        ResidualBlock(16, 4, separable=True, project_skip=True),
        "body/group_2/first",
        "body.1.body.0",
        32,
    ),
    "group": Layer(
        "lnln", ResidualGroup(3, 16, 4, separable=True), "body/group_2", "body.1", 32
    ),
}


def subtree(tree, path):
    flat = flatten_dict(tree, sep="/")
    path += "/"
    return unflatten_dict({k[len(path) :]: v for k, v in flat.items() if k.startswith(path)}, "/")


def layer_in_flax(layer, variables, x, options):
    """The output; under PyTorch's names the gradients (of x: "input") and statistics."""

    @jax.jit
    def run(variables, x):
        def forward(params, x):
            collections = {"params": params, "batch_stats": variables["batch_stats"]}
            local = {k: subtree(v, layer.flax_path) for k, v in collections.items()}
            return layer.module.apply(local, x, mutable=["batch_stats"], **options)

        out, pullback, changed = jax.vjp(forward, variables["params"], x, has_aux=True)
        return out, pullback(random_cotangent(out.shape)), changed.get("batch_stats", {})

    out, (grads, grad_x), changed = run(variables, x)
    stats = flatten_dict(variables["batch_stats"], sep="/")
    stats |= {f"{layer.flax_path}/{k}": v for k, v in flatten_dict(changed, sep="/").items()}
    arrays = to_torch(
        {"params": grads, "batch_stats": unflatten_dict(stats, "/")}, name=layer.network
    )
    prefix = layer.torch_path + "."
    local = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return {"output": out}, local | {"input": grad_x}


def layer_in_torch(layer, network, x, *, train, dtype):
    """The output, the gradients (of x: "input") and the statistics."""
    part = copy.deepcopy(network.get_submodule(layer.torch_path)).to(dtype).train(train)
    margins = watch_relus(part)
    x = to_nchw(x, dtype).requires_grad_()
    out = part(x)
    out.backward(to_nchw(random_cotangent(to_nhwc(out).shape), dtype))
    assert_no_ties(margins)
    grads = {key: p.grad.numpy() for key, p in part.named_parameters()}
    return (
        {"output": to_nhwc(out)},
        grads | {"input": to_nhwc(x.grad)},
        without_counts(part.named_buffers()),
    )


@pytest.mark.parametrize(
    ("name", "size", "train"),
    [
        *((name, ODD, True) for name in LAYERS),
        ("non-local", EVEN, True),
        ("norm", EVEN, False),
        ("block", EVEN, False),
    ],
)
def test_layer(name, size, train):
    layer = LAYERS[name]
    _, variables, network = make_networks(layer.network, layer.scale)
    x = random_features(1, size, layer.channels)
    normalises = isinstance(layer.module, layers.BatchNorm | ResidualBlock | ResidualGroup)
    theirs, truth = (
        layer_in_torch(layer, network, x, train=train, dtype=dtype)
        for dtype in (torch.float32, torch.float64)
    )
    options = {"train": train} if normalises else {}
    output, rest = layer_in_flax(layer, variables, x, options)
    check("output", output, theirs[0], truth[0])
    keys = [k for k in truth[1] if not (train and is_cancelled(f"{layer.torch_path}.{k}"))]
    grads = ({key: grads[key] for key in keys} for grads in (rest, theirs[1], truth[1]))
    check("gradients", *grads)
    if normalises:
        check("statistics", {key: rest[key] for key in truth[2]}, theirs[2], truth[2])


# --- networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scale", "size"),
    [
        ("lnln", 2, EVEN),
        ("lnln", 3, ODD),
        ("lnln", 4, EVEN),
        ("drca", 2, ODD),
        ("drca", 3, EVEN),
        ("drca", 4, ODD),
    ],
)
def test_inference(name, scale, size):
    module, variables, network = make_networks(name, scale)
    lr = random_image(3, size)
    with torch.no_grad():
        theirs, truth = (
            copy.deepcopy(network).eval().to(dtype)(to_nchw(lr, dtype))
            for dtype in (torch.float32, torch.float64)
        )
    ours = jax.jit(module.apply)(variables, lr)
    check("sr", {"sr": ours}, {"sr": to_nhwc(theirs)}, {"sr": to_nhwc(truth)})


@cache
def loss_and_grads(name):
    """A jitted function of params, batch_stats, lr and hr; `((loss, (sr, batch_stats)), grads)`."""
    module = make_networks(name, 2)[0]

    def loss(params, batch_stats, lr, hr):
        variables = {"params": params, "batch_stats": batch_stats}
        sr, changed = module.apply(variables, lr, train=True, mutable=["batch_stats"])
        return jnp.abs(sr - hr).mean(), (sr, changed["batch_stats"])

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def backward(network, lr, hr):
    """The loss and sr of a PyTorch network in training mode; its parameters get gradients."""
    dtype = network.tail[1].bias.dtype
    network.zero_grad()
    margins = watch_relus(network)
    sr = network(to_nchw(lr, dtype))
    residual = sr - to_nchw(hr, dtype)
    loss = residual.abs().mean()
    loss.backward()
    assert_no_ties([*margins, residual.abs().min().item() / 255])
    return loss.item(), to_nhwc(sr)


@cache
def make_batches(name, count=10):
    """LR images, and HR ones 80 to 120 away from what the network first makes of them."""
    network = copy.deepcopy(make_networks(name, 2)[2])
    batches = []
    for seed in range(count):
        rng, lr = np.random.default_rng(seed), random_image(seed, TRAINING_SIZES[name])
        with torch.no_grad():
            sr = to_nhwc(network(to_nchw(lr)))
        offsets = np.array([1, -1, 1]) * rng.uniform(80, 120, sr.shape)
        batches.append((lr, (sr + offsets).astype(np.float32)))
    return batches


def gradients(network):
    return {key: p.grad.numpy() for key, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", NETWORKS)
def test_training_pass(name):
    _, variables, network = make_networks(name, 2)
    lr, hr = make_batches(name)[0]
    theirs, truth = {}, {}
    for result, dtype in ((theirs, torch.float32), (truth, torch.float64)):
        copied = copy.deepcopy(network).to(dtype)
        loss, sr = backward(copied, lr, hr)
        result |= {"output": {"sr": sr, "loss": loss}, "gradients": gradients(copied)}
        result["statistics"] = without_counts(copied.named_buffers())
    (loss, (sr, stats)), grads = loss_and_grads(name)(*variables.values(), lr, hr)
    arrays = to_torch({"params": grads, "batch_stats": stats}, name=name)

    check("output", {"sr": sr, "loss": loss}, theirs["output"], truth["output"])
    for what in ("gradients", "statistics"):
        keys = [key for key in truth[what] if not is_cancelled(key)]
        check(what, *({key: x[key] for key in keys} for x in (arrays, theirs[what], truth[what])))

    # The gradients that are zero: a share of what float32 rounding makes of the layer's other one.
    for key in filter(is_cancelled, truth["gradients"]):
        size = np.abs(truth["gradients"][key.replace("bias", "weight")]).max()
        for grads in (arrays, theirs["gradients"]):
            assert np.abs(grads[key]).max() <= 16 * EPSILON * size
        assert np.abs(truth["gradients"][key]).max() <= 1e-8 * EPSILON * size
