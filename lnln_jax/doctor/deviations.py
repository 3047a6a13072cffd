"""Deviations of kernels and networks from float64, against bounds.

The truth is the plain definition of a kernel (`lnln_jax.kernels.reference`), or the network in its
plain form, in float64 on this machine's CPU. A deviation is ||out - truth|| / ||truth|| of one
array; of a network's gradients it is that of all of them as one vector.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax import kernels
from lnln_jax.doctor.kernel_cases import Function, Kernel, all_kernels
from lnln_jax.doctor.networks import random_variables
from lnln_jax.models import create_model
from lnln_jax.runtime.processes import usable_cores

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# Four or more times what was measured with JAX 0.10 to 0.12 on a CPU: 5.4e-7 in float32 and 4.1e-3
# in bfloat16. Both come from a few roundings (each below 2**-24 and 2**-8) and from sums over up to
# 960 pixels. TF32 was emulated: 2**-11 for inputs that are rounded makes 5e-4 in attention, and
# inputs whose last bits are cut off, as some hardware does, 2e-3.
KERNEL_BOUNDS: dict[Precision, float] = {"float32": 2e-6, "tf32": 5e-3, "bfloat16": 2e-2}
# On a GPU cuDNN may compute 3x3 convolutions in float32 by Winograd's transforms, which round more.
# Nothing has been measured there; TF32 in place of float32 would still show, at 5e-4.
_WINOGRAD = 3e-5
# A network adds up the errors of its layers, and where a ReLU's input is near zero rounding decides
# about the gradient of what comes before it. Measured with five seeds: 3.4e-7 and 1.1e-2 for the
# output, 2.2e-6 and 4.1e-2 for the gradients. In TF32 only products are rounded.
OUTPUT_BOUNDS: dict[Precision, float] = {"float32": 2e-6, "tf32": 1e-2, "bfloat16": 5e-2}
GRADIENT_BOUNDS: dict[Precision, float] = {"float32": 2e-5, "tf32": 5e-2, "bfloat16": 2e-1}

# Two blocks, of which the second is one of a scan, and all else that LNLN has.
SMALL = {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4}

_MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}
_DTYPES = {"float32": jnp.float32, "tf32": jnp.float32, "bfloat16": jnp.bfloat16}


class Deviation(NamedTuple):
    """The deviation of one array from the truth.

    Attributes:
      kernel: name of the kernel or the network.
      implementation: implementation, such as "plain", "tuned" or "chunked".
      what: array, such as "value" or "gradient of x".
      precision: "float32", "tf32" or "bfloat16".
      deviation: deviation as a share of the norm of the truth; NaN where there is no result.
      bound: bound that a sound machine stays within.
      error: why there is no result, or empty.
    """

    kernel: str
    implementation: str
    what: str
    precision: Precision
    deviation: float
    bound: float
    error: str = ""

    @property
    def sound(self) -> bool:
        """Whether the deviation is within its bound, which NaN is not."""
        return self.deviation <= self.bound


def kernel_deviations(
    precisions: Sequence[Precision] = PRECISIONS, *, seed: int = 0
) -> Iterator[Deviation]:
    """Compares the values and gradients of all kernels, in all their implementations.

    Args:
      precisions: precisions to compute in; "tf32" is left out where the device is not a GPU.
      seed: seed of the arguments.

    Yields:
      A row for each kernel, implementation, precision and array, as soon as it is known.

    Raises:
      ValueError: JAX has no CPU device to compute the truth on.
    """
    cases = all_kernels(np.random.default_rng(seed))
    compare = partial(_compare_kernel, precisions=runnable(precisions), seed=seed)
    with _threads() as pool:
        for rows in pool.map(compare, cases, cases.values()):
            yield from rows


def network_deviations(
    precisions: Sequence[Precision] = PRECISIONS,
    *,
    name: str = "lnln",
    options: Mapping[str, int] | None = None,
    forms: Sequence[kernels.Form] = ("auto",),
    seed: int = 0,
) -> list[Deviation]:
    """Compares a network: the output and the gradients of a training pass.

    Args:
      precisions: as for `kernel_deviations`.
      name: name of the network.
      options: hyper-parameters; None for a small LNLN with each of its layers.
      forms: forms of the kernels.
      seed: seed of the weights and the image.

    Returns:
      Two rows for each form and precision: "output" and "gradients".

    Raises:
      ValueError: as `kernel_deviations`.
    """
    options = dict(SMALL if options is None else options)
    rng = np.random.default_rng(seed)
    variables = random_variables(create_model(name, **options), rng)
    lr = rng.integers(0, 256, (2, 12, 14, 3)).astype(np.float32)
    weights = rng.normal(size=(2, 24, 28, 3)).astype(np.float32)
    arrays = {"variables": variables, "lr": lr, "weights": weights}

    def passes(dtype: Any) -> Function:
        module = create_model(name, dtype=dtype, **options)
        return partial(_passes, module)

    cases = list(itertools.product(forms, runnable(precisions)))
    with _threads() as pool:
        truth = pool.submit(_in_float64, _exact(passes(jnp.float64)), arrays)
        found = list(
            pool.map(
                lambda case: _attempt(case[0], case[1], passes(_DTYPES[case[1]]), arrays), cases
            )
        )
    return [
        row
        for case, result in zip(cases, found, strict=True)
        for row in _network_rows(name, *case, result, truth.result())
    ]


def runnable(precisions: Iterable[Precision]) -> list[Precision]:
    """Returns those that JAX's default device has: TF32 is of GPUs alone."""
    return [p for p in precisions if p != "tf32" or jax.default_backend() == "gpu"]


def _compare_kernel(
    name: str, kernel: Kernel, precisions: Sequence[Precision], seed: int
) -> list[Deviation]:

    def passes(function: Function) -> Function:
        return partial(_value_and_gradients, function)

    definition, rng = _exact(passes(kernel.definition)), np.random.default_rng(seed)
    outs = jax.tree.leaves(jax.eval_shape(kernel.definition, *kernel.arrays.values()))
    directions = [rng.normal(size=out.shape).astype(jnp.bfloat16) for out in outs]
    names = [*kernel.results, *(f"gradient of {key}" for key in kernel.arrays)]
    rows = []
    for precision in precisions:
        inputs = {"arrays": _rounded(kernel, precision), "directions": directions}
        truth = _in_float64(definition, inputs)
        for label, (form, function) in kernel.implementations.items():
            if label == "cudnn" and precision != "bfloat16":
                continue
            found, error = _attempt(form, precision, passes(function), inputs)
            bound, measured = _bound(name, precision), found or [math.nan] * len(names)
            for what, out, expected in zip(names, measured, truth, strict=True):
                deviation = relative(out, expected)
                rows.append(Deviation(name, label, what, precision, deviation, bound, error))
    return rows


def _bound(kernel: str, precision: Precision) -> float:
    if kernel == "conv" and precision == "float32" and jax.default_backend() == "gpu":
        return _WINOGRAD
    return KERNEL_BOUNDS[precision]


def _rounded(kernel: Kernel, precision: Precision) -> tuple[np.ndarray, ...]:
    """Rounds the arguments, for the truth too, as the kernel has them."""
    if precision != "bfloat16":
        return tuple(kernel.arrays.values())
    return tuple(
        x if key in kernel.wide else x.astype(jnp.bfloat16) for key, x in kernel.arrays.items()
    )


def _value_and_gradients(
    function: Function, arrays: tuple[jax.Array, ...], directions: list[jax.Array]
) -> list[jax.Array]:
    """Computes the results, and the gradients of all arguments for random directions of them."""
    out, pull = jax.vjp(function, *arrays)
    leaves, tree = jax.tree.flatten(out)
    pairs = zip(directions, leaves, strict=True)
    cotangents = [direction.astype(leaf.dtype) for direction, leaf in pairs]
    return [*leaves, *pull(jax.tree.unflatten(tree, cotangents))]


def _passes(
    module: Any, variables: dict[str, Any], lr: jax.Array, weights: jax.Array
) -> dict[str, Any]:
    """Computes the output of a training pass, and the gradients of a weighted sum of it."""

    def train(params: Any) -> tuple[jax.Array, jax.Array]:
        sr, _ = module.apply(
            variables | {"params": params}, lr, train=True, mutable=["batch_stats"]
        )
        return (sr * weights).sum(), sr

    gradients, sr = jax.grad(train, has_aux=True)(variables["params"])
    return {"output": sr, "gradients": gradients}


def _network_rows(
    name: str,
    form: str,
    precision: Precision,
    found: tuple[Any, str],
    truth: dict[str, Any],
) -> Iterator[Deviation]:
    out, error = found
    for what in ("output", "gradients"):
        bounds = GRADIENT_BOUNDS if what == "gradients" else OUTPUT_BOUNDS
        deviation = math.nan if error else relative(_vector(out[what]), _vector(truth[what]))
        yield Deviation(name, form, what, precision, deviation, bounds[precision], error)


def _exact(function: Function) -> Any:
    """Makes a function to compute the truth with: compiled quickly, and not rearranged."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def _in_float64(jitted: Any, inputs: dict[str, Any]) -> Any:
    """Computes on the CPU, in an x64 mode that ends with this function, of this thread alone."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise ValueError(
            "JAX_PLATFORMS leaves out the CPU, on which the truth is computed in float64; add cpu "
            "to it, or unset it"
        ) from error
    with jax.enable_x64(True), jax.default_device(cpu), kernels.using("plain"):
        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), inputs)
        return jax.device_get(jitted(**wide))


def _attempt(
    form: kernels.Form, precision: Precision, function: Function, inputs: dict[str, Any]
) -> tuple[Any, str]:
    """Computes on the default device; returns the results and an empty text, or none and why."""
    try:
        with kernels.using(form), jax.default_matmul_precision(_MATMUL[precision]):
            return jax.device_get(jax.jit(function)(**inputs)), ""
    except Exception as error:  # what a compiler or a driver raises is a finding, too
        return None, " ".join(str(error).split()) or type(error).__name__


def _threads() -> ThreadPoolExecutor:
    """Opens threads that compile at the same time; what a comparison switches is of one thread."""
    return ThreadPoolExecutor(usable_cores())


def _vector(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def relative(out: np.ndarray, truth: np.ndarray) -> float:
    """Returns ||out - truth|| / ||truth||, which is NaN where either has NaN."""
    difference = np.asarray(out, np.float64) - truth
    return float(np.linalg.norm(difference.ravel()) / np.linalg.norm(truth.ravel()))
