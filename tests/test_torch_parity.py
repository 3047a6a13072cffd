"""The Flax networks compute what PyTorch computes, and train as PyTorch trains.

The truth is the PyTorch reference in float64. The same reference in float32 shows how near to the
truth float32 comes, and ours has to come as near, up to a factor. `pytest -rP` prints all errors;
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

NETWORKS = {"lnln": torch_reference.LNLN, "drca": torch_reference.DRCA}
SMALL = {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 16, "reduction": 4}
SIZES = {"even": (12, 10), "odd": (11, 13)}
TRAINING_SIZES = {"lnln": SIZES["odd"], "drca": SIZES["even"]}
# Seeds of weights with which no ReLU's input is so near to zero that rounding decides its sign.
SEEDS = {"lnln": 9, "drca": 35}

# Ours may be FACTOR times as far from the truth as PyTorch, plus FLOOR where PyTorch is lucky.
# Measured for errors above 1e-6: up to 1.1 times as far, 5.4 times when PyTorch's sums over the
# pixels are split among two threads, so that fewer values are added one after another.
EPSILON = float(np.finfo(np.float32).eps)
FACTOR, FLOOR = 8, 8 * EPSILON
# And no farther than this, as a share of the norm.
LIMITS = {
    "output": 1e-6,  # measured 2.3e-7: the rounding of the last additions
    "gradients": 2e-5,  # measured 7.9e-6: sums over all pixels, added one after another
    "statistics": 5e-6,  # measured 2.4e-7, and 1.3e-6 after ten steps
    "losses": 2e-6,  # measured 7.0e-7: a sum over all pixels
    "parameters": 5e-6,  # measured 1.2e-6
    "changes": 1e-4,  # measured 3.2e-5: Adam makes the noise of small gradients as large as others'
}


@pytest.fixture(autouse=True)
def _one_thread_and_full_precision():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine PyTorch's threads spend minutes waiting for others
    with jax.default_matmul_precision("highest"):  # on a GPU the default is TensorFloat-32
        yield
    torch.set_num_threads(threads)


@cache
def make_networks(name, scale):
    """A Flax module, its variables, and the PyTorch network that they come from."""
    torch.manual_seed(SEEDS[name])
    network = NETWORKS[name](scale, **SMALL)
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

    In training, BatchNorm subtracts the mean and with it whatever its convolution adds to a whole
    channel (a separable convolution: both of its halves); the softmax over positions j cancels
    theta_i . bias(phi). The gradients of such biases are zero but for rounding.
    """
    before_norm = r"body\.\d+\.body\.\d+\.body\.[03](\.depthwise|\.pointwise)?\.bias"
    return key == "non_local.phi.bias" or re.fullmatch(before_norm, key) is not None


def random_image(seed, size):
    return np.random.default_rng(seed).integers(0, 256, (2, *size, 3)).astype(np.float32)


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


def watch_relus(network):
    """A list that collects the smallest input of each ReLU, as a share of the largest."""
    margins = []

    def hook(_, inputs):
        magnitudes = inputs[0].detach().abs()
        margins.append((magnitudes.min() / magnitudes.max()).item())

    for layer in network.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.register_forward_pre_hook(hook)
    return margins


def assert_no_ties(margins):
    """At a kink rounding chooses between two gradients, and there is nothing to compare."""
    assert min(margins, default=1) > 10 * EPSILON, "a value is too near a kink: change the seed"


def get_gradients(network):
    return {key: p.grad.numpy() for key, p in network.named_parameters() if p.requires_grad}


def get_statistics(network):
    return {k: v.numpy() for k, v in network.named_buffers() if "num_batches_tracked" not in k}


# --- layers -----------------------------------------------------------------------------------


class Layer(NamedTuple):
    """A layer, with the weights that it has in a network."""

    network: str
    module: nn.Module
    flax_path: str
    torch_path: str
    channels: int
    scale: int = 2


_DSC = layers.DepthwiseSeparableConv
_BLOCK = ResidualBlock(16, 4, separable=True, project_skip=True)
_GROUP = ResidualGroup(3, 16, 4, separable=True)
_FIRST = ("body/group_1/first", "body.0.body.0.body")
LAYERS = {
    "conv 3x3": Layer("drca", layers.Conv(16), "head", "head.0", 3),
    "conv 1x1": Layer("drca", layers.Conv(16, 1), "body/projection", "body.2", 48),
    "depthwise": Layer(
        "lnln", layers.DepthwiseConv(), "upsampler/conv_1/depthwise", "tail.0.0.depthwise", 16
    ),
    "separable": Layer("lnln", _DSC(64), "upsampler/conv_1", "tail.0.0", 16),
    "norm": Layer("lnln", layers.BatchNorm(), f"{_FIRST[0]}/norm_1", f"{_FIRST[1]}.1", 16),
    "attention": Layer(
        "lnln", layers.ChannelAttention(4), f"{_FIRST[0]}/attention", f"{_FIRST[1]}.5", 16
    ),
    "non-local": Layer("lnln", layers.RegionNonLocal(8), "non_local", "non_local", 16),
    "upsampler x2": Layer("drca", layers.Upsampler(2), "upsampler", "tail.0", 16),
    "upsampler x3": Layer("drca", layers.Upsampler(3), "upsampler", "tail.0", 16, scale=3),
    "upsampler x4": Layer(
        "lnln", layers.Upsampler(4, separable=True), "upsampler", "tail.0", 16, scale=4
    ),
    "block": Layer("lnln", _BLOCK, "body/group_2/first", "body.1.body.0", 32),
    "group": Layer("lnln", _GROUP, "body/group_2", "body.1", 32),
}


def subtree(tree, path):
    prefix = f"{path}/"
    flat = {k: v for k, v in flatten_dict(tree, sep="/").items() if k.startswith(prefix)}
    return unflatten_dict({k.removeprefix(prefix): v for k, v in flat.items()}, sep="/")


def layer_in_flax(layer, variables, x, options):
    """The output; under PyTorch's keys the gradients and statistics; the gradient of x: "input"."""

    @jax.jit
    def run(variables, x):
        def forward(params, x):
            collections = {"params": params, "batch_stats": variables["batch_stats"]}
            local = {k: subtree(v, layer.flax_path) for k, v in collections.items()}
            return layer.module.apply(local, x, mutable=["batch_stats"], **options)

        out, pullback, changed = jax.vjp(forward, variables["params"], x, has_aux=True)
        return out, pullback(random_features(2, out.shape)), changed.get("batch_stats", {})

    out, (grads, grad_x), changed = run(variables, x)
    stats = flatten_dict(variables["batch_stats"], sep="/")
    stats |= {f"{layer.flax_path}/{k}": v for k, v in flatten_dict(changed, sep="/").items()}
    stats = unflatten_dict(stats, sep="/")
    arrays = to_torch({"params": grads, "batch_stats": stats}, name=layer.network)
    prefix = f"{layer.torch_path}."
    arrays = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return out, arrays | {"input": grad_x}


def layer_in_torch(network, x):
    """The output, and the gradient of x; the network keeps the other gradients and statistics."""
    dtype = next(network.parameters()).dtype
    margins = watch_relus(network)
    x = to_nchw(x, dtype).requires_grad_()
    out = to_nhwc(y := network(x))
    y.backward(to_nchw(random_features(2, out.shape), dtype))
    assert_no_ties(margins)
    return out, to_nhwc(x.grad)


@pytest.mark.parametrize(
    ("name", "size", "train"),
    [
        *((name, "odd", True) for name in LAYERS),
        ("non-local", "even", True),
        ("norm", "even", False),
    ],
)
def test_layer(name, size, train):
    layer = LAYERS[name]
    _, variables, network = make_networks(layer.network, layer.scale)
    x = random_features(1, (2, *SIZES[size], layer.channels))
    normalises = isinstance(layer.module, layers.BatchNorm | ResidualBlock | ResidualGroup)
    ours = layer_in_flax(layer, variables, x, {"train": train} if normalises else {})
    part = copy.deepcopy(network.get_submodule(layer.torch_path)).train(train)
    results = [ours]
    for reference in (part, in_float64(part)):
        out, grad_x = layer_in_torch(reference, x)
        arrays = get_gradients(reference) | get_statistics(reference) | {"input": grad_x}
        results.append((out, arrays))

    check("output", *({"output": out} for out, _ in results))
    statistics = get_statistics(part)
    gradients = results[2][1].keys() - statistics.keys()
    if train:
        gradients = {key for key in gradients if not is_cancelled(f"{layer.torch_path}.{key}")}
    for what, keys in (("gradients", gradients), ("statistics", statistics)):
        if keys:
            check(what, *({key: arrays[key] for key in keys} for _, arrays in results))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_pixel_shuffle(factor):
    x = random_features(1, (2, *SIZES["odd"], 5 * factor**2))
    expected = torch.nn.functional.pixel_shuffle(to_nchw(x), factor)
    np.testing.assert_array_equal(pixel_shuffle(x, factor), to_nhwc(expected))


@pytest.mark.parametrize("name", ["sub_mean", "add_mean"])
def test_mean_shift(name):
    shift = {"sub_mean": layers.subtract_mean, "add_mean": layers.add_mean}[name]
    layer, lr = getattr(make_networks("lnln", 2)[2], name), random_image(1, SIZES["odd"])
    theirs, truth = layer(to_nchw(lr)), in_float64(layer)(to_nchw(lr, torch.float64))
    check("output", *({name: x} for x in (shift(lr), to_nhwc(theirs), to_nhwc(truth))))


# --- networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scale", "size"),
    [
        ("lnln", 2, "even"),
        ("lnln", 3, "odd"),
        ("lnln", 4, "even"),
        ("drca", 2, "odd"),
        ("drca", 3, "even"),
        ("drca", 4, "odd"),
    ],
)
def test_inference(name, scale, size):
    module, variables, network = make_networks(name, scale)
    network, lr = copy.deepcopy(network).eval(), random_image(3, SIZES[size])
    ours = jax.jit(module.apply)(variables, lr)
    with torch.no_grad():
        theirs = network(to_nchw(lr))
        truth = in_float64(network)(to_nchw(lr, torch.float64))
    check("output", *({"sr": sr} for sr in (ours, to_nhwc(theirs), to_nhwc(truth))))


@cache
def make_batches(name):
    """Ten LR images, and HR ones 80 to 120 away from what the network first makes of them.

    So L1's kink, where rounding would choose the gradient's sign, stays out of reach.
    """
    network = copy.deepcopy(make_networks(name, 2)[2])
    batches = []
    for seed in range(10):
        rng, lr = np.random.default_rng(seed), random_image(seed, TRAINING_SIZES[name])
        with torch.no_grad():
            sr = to_nhwc(network(to_nchw(lr)))
        offsets = np.array([1, -1, 1]) * rng.uniform(80, 120, sr.shape)
        batches.append((lr, (sr + offsets).astype(np.float32)))
    return batches


@cache
def loss_and_grads(name):
    """A jitted function of variables, lr and hr; `((loss, (sr, batch_stats)), gradients)`."""
    module = make_networks(name, 2)[0]

    def loss(params, batch_stats, lr, hr):
        variables = {"params": params, "batch_stats": batch_stats}
        sr, changed = module.apply(variables, lr, train=True, mutable=["batch_stats"])
        return jnp.abs(sr - hr).mean(), (sr, changed["batch_stats"])

    grad = jax.value_and_grad(loss, has_aux=True)
    return jax.jit(lambda v, lr, hr: grad(v["params"], v["batch_stats"], lr, hr))


def pass_in_flax(name, variables, lr, hr):
    """The output; the gradients and statistics by PyTorch's keys."""
    (loss, (sr, stats)), grads = loss_and_grads(name)(variables, lr, hr)
    arrays = to_torch({"params": grads, "batch_stats": stats}, name=name)
    return {"sr": sr, "loss": loss}, arrays, arrays


def pass_in_torch(network, lr, hr):
    """The output, the gradients and the statistics; the network keeps the latter two."""
    dtype = next(network.parameters()).dtype
    network.zero_grad()
    margins = watch_relus(network)
    sr = network(to_nchw(lr, dtype))
    residual = sr - to_nchw(hr, dtype)
    loss = residual.abs().mean()
    loss.backward()
    assert_no_ties([*margins, residual.detach().abs().min().item() / 255])
    output = {"sr": to_nhwc(sr), "loss": loss.item()}
    return output, get_gradients(network), get_statistics(network)


def without_cancelled(arrays, keys):
    return {key: arrays[key] for key in keys if not is_cancelled(key)}


@pytest.mark.parametrize("name", NETWORKS)
def test_training_pass(name):
    _, variables, network = make_networks(name, 2)
    batch = make_batches(name)[0]
    ours = pass_in_flax(name, variables, *batch)
    theirs = pass_in_torch(copy.deepcopy(network), *batch)
    truth = pass_in_torch(in_float64(network), *batch)
    for i, what in enumerate(("output", "gradients", "statistics")):
        check(what, *(without_cancelled(x[i], truth[i]) for x in (ours, theirs, truth)))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_cancelled_biases_are_noise(name):
    """Small beside the gradient of the same layer's weight."""
    _, variables, network = make_networks(name, 2)
    batch = make_batches(name)[0]
    grads = [
        pass_in_flax(name, variables, *batch)[1],
        pass_in_torch(copy.deepcopy(network), *batch)[1],
        pass_in_torch(in_float64(network), *batch)[1],
    ]
    shares = []
    for key in filter(is_cancelled, grads[2]):
        scale = np.abs(grads[2][key.replace("bias", "weight")]).max()
        shares.append([np.abs(x[key]).max() / scale for x in grads])
    ours, theirs, truth = np.max(shares, axis=0)
    print(f"cancelled gradients: {ours:.1e}, PyTorch {theirs:.1e}, in float64 {truth:.1e}")
    assert max(ours, theirs) < 5e-5  # measured: 1.1e-5 and 1.1e-6
    assert truth < 1e-13


@pytest.mark.parametrize("name", NETWORKS)
def test_cancelled_biases_change_nothing(name):
    """In training, with other such biases, output and gradients are the true ones of before."""
    _, variables, network = make_networks(name, 2)
    batch = make_batches(name)[0]
    truth = pass_in_torch(in_float64(network), *batch)
    changed, generator = copy.deepcopy(network), torch.Generator().manual_seed(0)
    for key, value in changed.state_dict().items():
        if is_cancelled(key):
            value.add_(torch.randn(value.shape, generator=generator), alpha=0.1)
    variables = from_torch(changed.state_dict(), name=name, like=variables)
    ours, theirs = pass_in_flax(name, variables, *batch), pass_in_torch(changed, *batch)
    for i, what in enumerate(("output", "gradients")):
        check(what, *(without_cancelled(x[i], truth[i]) for x in (ours, theirs, truth)))


def train_in_flax(name, variables, batches):
    """The loss of every step, and the state dicts from before the first to after the last."""
    optimizer = make_optimizer(
        OptimizerConfig(learning_rate=1e-3, decay_every_epochs=4, steps_per_epoch=1)
    )

    @jax.jit
    def update(grads, opt_state, params):
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    opt_state, losses = optimizer.init(variables["params"]), []
    states = [to_torch(variables, name=name)]
    for step, (lr, hr) in enumerate(batches, start=1):
        (loss, (_, stats)), grads = loss_and_grads(name)(variables, lr, hr)
        with jax.numpy_dtype_promotion("standard"):  # Optax raises a float to an integer power
            params, opt_state = update(grads, opt_state, variables["params"])
        variables = {"params": params, "batch_stats": stats}
        losses.append(loss)
        states.append(to_torch(variables, name=name, step=step))
    return np.array(losses), states


def train_in_torch(network, batches):
    """As `train_in_flax`."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=1e-8)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)

    def snapshot():
        return {key: value.numpy().copy() for key, value in network.state_dict().items()}

    losses, states = [], [snapshot()]
    for lr, hr in batches:
        losses.append(pass_in_torch(network, lr, hr)[0]["loss"])
        optimizer.step()
        scheduler.step()
        states.append(snapshot())
    return np.array(losses), states


def cancelled_means(state):
    """What the cancelled biases alone add to the batch mean of each BatchNorm."""
    means = {}
    for key in (key for key in state if key.endswith(".running_mean")):
        prefix, index, _ = key.rsplit(".", 2)
        conv = f"{prefix}.{int(index) - 1}"
        if f"{conv}.bias" in state:
            means[key] = state[f"{conv}.bias"].astype(np.float64)
        else:
            weight, bias = (state[f"{conv}.pointwise.{k}"] for k in ("weight", "bias"))
            means[key] = weight[:, :, 0, 0] @ state[f"{conv}.depthwise.bias"].astype(float) + bias
    return means


def own_statistics(states):
    """The last running statistics, net of what the cancelled biases have put into the means."""
    statistics = {key: value for key, value in states[-1].items() if ".running_" in key}
    for age, state in enumerate(reversed(states[:-1])):
        for key, mean in cancelled_means(state).items():
            statistics[key] = statistics[key] - 0.1 * 0.9**age * mean
    return statistics


@pytest.mark.parametrize("name", NETWORKS)
def test_ten_training_steps(name):
    """Adam at a rate that is halved every four steps, with another batch in each step.

    Adam divides gradients by their size, so that the noise which the cancelled biases get for
    gradients moves them as far as any parameter. Where they go means nothing: they are left out,
    and what they add to the running means is subtracted.
    """
    _, variables, network = make_networks(name, 2)
    batches = make_batches(name)
    ours = train_in_flax(name, variables, batches)
    theirs = train_in_torch(copy.deepcopy(network), batches)
    truth = train_in_torch(in_float64(network), batches)
    results = (ours, theirs, truth)

    assert truth[0][-1] < 0.995 * truth[0][0]
    check("losses", *({"losses": losses} for losses, _ in results))
    keys = [key for key, p in network.named_parameters() if p.requires_grad]
    check("parameters", *(without_cancelled(states[-1], keys) for _, states in results))
    changes = [{key: states[-1][key] - states[0][key] for key in keys} for _, states in results]
    check("changes", *(without_cancelled(x, keys) for x in changes))
    check("statistics", *(own_statistics(states) for _, states in results))
    for key in (key for key in theirs[1][-1] if key.endswith("num_batches_tracked")):
        assert ours[1][-1][key] == theirs[1][-1][key] == 10
