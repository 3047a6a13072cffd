"""Compares all networks with PyTorch on one device: a forward pass, gradients, ten steps.

The truth is PyTorch in float64 (torch_reference); PyTorch in float32 shows how near float32
comes. Neither side uses TF32.
"""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import optax

from lnln_jax.config import OptimizerConfig
from lnln_jax.doctor.deviations import relative
from lnln_jax.doctor.networks import random_variables
from lnln_jax.images.arrays import rgb_to_y
from lnln_jax.models import create_model, input_channels
from lnln_jax.training.optimizer import make_optimizer
from lnln_jax.training.step import make_gradients
from lnln_jax.weights.torch_port import to_torch
from scripts.benchmarks.gpu_report import Report

TABLE = "networks beside PyTorch"
_GROUPS = {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4}
NETWORKS: dict[str, dict[str, Any]] = {
    "lnln": _GROUPS,
    "drca": _GROUPS,
    "rcan": _GROUPS,
    "edsr": {"n_resblocks": 2, "n_feats": 16, "res_scale": 0.1},
    "vdsr": {"n_layers": 5, "n_feats": 16},
    "rlfn": {"n_resblocks": 2, "n_feats": 16, "n_mid_feats": 12, "n_attention_feats": 4},
    "rfdn": {"n_resblocks": 2, "n_feats": 16},
    "imdn": {"n_resblocks": 2, "n_feats": 16, "reduction": 4},
    "carn": {"n_feats": 16},
    "carn_m": {"n_feats": 16, "groups": 2},
    "pan": {"n_resblocks": 2, "n_feats": 16, "n_upsampler_feats": 12},
    "rdn": {"n_resblocks": 2, "n_layers": 3, "growth_rate": 16, "n_feats": 16},
    "msrn": {"n_resblocks": 2, "n_feats": 16},
    "wdsr_a": {"n_resblocks": 2, "n_feats": 16, "block_feats": 32},
    "wdsr_b": {"n_resblocks": 2, "n_feats": 16, "block_feats": 32, "low_rank_feats": 12},
    "wdsr_reloaded": {"n_resblocks": 2, "n_feats": 16, "block_feats": 32},
    "san": _GROUPS,
    "swinir_light": {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 60, "drop_path": 0.0},
}
REHEARSED = ("lnln", "drca", "rcan", "edsr", "vdsr", "rlfn")  # compiling takes most of the time
ADAM = OptimizerConfig(learning_rate=1e-3)
SGD = OptimizerConfig("sgd", learning_rate=0.1, weight_decay=1e-4, clip_norm=0.4)
STEPS = 10
# What may lie between ours and float64, all arrays as one vector, where PyTorch's float32 is no
# farther away itself. Where a ReLU's input is near zero rounding decides about a gradient, so the
# median over seeds counts.
LIMITS = {"output": 2e-6, "gradients": 1e-4, "parameters after ten steps": 1e-4}
TIMES_PYTORCH = 8

Arrays = dict[str, dict[str, np.ndarray]]  # by what they are, and by PyTorch's keys
Batch = dict[str, np.ndarray]


def compare_networks(report: Report, *, seeds: int, names: Sequence[str]) -> None:
    """Adds three rows for each network."""
    try:
        import torch
    except ImportError:
        report.row(TABLE, network="all", left_out="PyTorch is not installed")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # its threads would spend their time waiting for each other
    with ThreadPoolExecutor(len(names)) as pool:  # most of the time goes into compiling
        list(pool.map(lambda name: _compare(report, name, seeds), names))


def _compare(report: Report, name: str, seeds: int) -> None:
    with report.attempt(TABLE, network=name), jax.default_matmul_precision("highest"):
        ours, theirs = InJax(name), InTorch(name)
        found = [_errors(ours, theirs, seed) for seed in range(seeds)]
        for what in found[0]:
            mine, other = np.median([errors[what] for errors in found], axis=0).tolist()
            sound = mine <= max(LIMITS[what], TIMES_PYTORCH * other)
            report.row(TABLE, network=name, what=what, ours=mine, pytorch=other, sound=sound)


def _errors(ours: "InJax", theirs: "InTorch", seed: int) -> dict[str, tuple[float, float]]:
    """Returns how far both are from float64."""
    rng = np.random.default_rng(seed)
    variables = random_variables(ours.module, rng)
    batches = []
    for _ in range(STEPS):  # far from what the network makes, where L1 has a kink
        lr = rng.integers(0, 256, (2, 15, 17, 3)).astype(np.float32)
        hr = 1000 + rng.uniform(0, 255, (2, 30, 34, 3)).astype(np.float32)
        batches.append({"lr": lr, "hr": hr})
    network = theirs.network(to_torch(variables, name=ours.name))
    truth = theirs.train(copy.deepcopy(network).double(), batches)
    sides = truth, ours.train(variables, batches), theirs.train(network, batches)
    errors = {}
    for what, arrays in truth.items():
        true, mine, other = (
            np.concatenate([np.ravel(side[what][key]) for key in arrays]) for side in sides
        )
        errors[what] = relative(mine, true), relative(other, true)
    return errors


class InJax:
    """A network in JAX, compiled once."""

    def __init__(self, name: str) -> None:
        """Builds it; nothing is compiled yet."""
        self.name = name
        self.module = create_model(name, **NETWORKS[name])
        self.optimizer = make_optimizer(SGD if name == "vdsr" else ADAM)
        self.forward = jax.jit(self.module.apply)
        self.gradients = jax.jit(make_gradients(self.module, "l2" if name == "vdsr" else "l1"))
        self.optimize = jax.jit(self._optimize)

    def _optimize(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = self.optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def train(self, variables: dict[str, Any], batches: list[Batch]) -> Arrays:
        """Returns the output for the first batch, its gradients, and the parameters after all."""
        lr = batches[0]["lr"]
        x = rgb_to_y(lr)[..., None] if input_channels(self.module) == 1 else lr
        output = np.asarray(self.forward(variables, x))
        first, state = None, self.optimizer.init(variables["params"])
        for batch in batches:
            found = self.gradients(variables, batch)
            first = first or found
            params, state = self.optimize(found.params, state, variables["params"])
            variables = {**variables, **found.statistics, "params": params}
        assert first is not None
        grads = {"params": first.params, **first.statistics}
        return {
            "output": {"sr": output},
            "gradients": to_torch(jax.device_get(grads), name=self.name),
            "parameters after ten steps": to_torch(jax.device_get(variables), name=self.name),
        }


class InTorch:
    """The same network in PyTorch, on the same device."""

    def __init__(self, name: str) -> None:
        """Finds the device."""
        import torch

        self.name, self.torch = name, torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def network(self, arrays: dict[str, np.ndarray]) -> Any:
        """Builds it with the weights of a state dict."""
        from lnln_jax.torch_reference import NETWORKS as REFERENCES

        network = REFERENCES[self.name](2, **NETWORKS[self.name])
        tensors = {key: self.torch.from_numpy(array) for key, array in arrays.items()}
        network.load_state_dict(tensors)
        return network.to(self.device)

    def train(self, network: Any, batches: list[Batch]) -> Arrays:
        """Trains as `InJax.train` does, in the dtype of the network."""
        from lnln_jax.torch_reference import training

        luma = self.name == "vdsr"
        loss, config, colors = ("l2", SGD, 1) if luma else ("l1", ADAM, 3)
        dtype = next(network.parameters()).dtype
        tensors = [{key: self._to_device(x, dtype) for key, x in b.items()} for b in batches]
        lr = tensors[0]["lr"]
        with self.torch.no_grad():
            x = training.rgb_to_y(lr) if luma else lr
            output = network.eval()(x).permute(0, 2, 3, 1).cpu().numpy()
        update = training.make_optimizer(network.train().parameters(), config)
        first: dict[str, np.ndarray] = {}
        for batch in tensors:
            network.zero_grad()
            training.training_loss(network, batch["lr"], batch["hr"], loss, colors)[0].backward()
            first = first or {k: p.grad.cpu().numpy().copy() for k, p in self._trained(network)}
            update()
        last = {k: p.detach().cpu().numpy() for k, p in self._trained(network)}
        return {
            "output": {"sr": output},
            "gradients": first,
            "parameters after ten steps": last,
        }

    def _to_device(self, images: np.ndarray, dtype: Any) -> Any:
        return self.torch.from_numpy(np.moveaxis(images, 3, 1).copy()).to(self.device, dtype)

    def _trained(self, network: Any) -> list[tuple[str, Any]]:
        """Returns parameters by key, but for those that the next operation takes away again."""
        from lnln_jax.torch_reference.training import is_cancelled

        named = network.named_parameters()
        return [(k, p) for k, p in named if p.requires_grad and not is_cancelled(self.name, k)]
