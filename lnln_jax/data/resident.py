"""Training images that live on the accelerator, and patches cut there inside the jitted step.

The host sends what `lnln_jax.data.sampling` draws, 16 bytes a patch, so the batches are those that
the host would have cut, bit for bit.
"""

import concurrent.futures
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lnln_jax.data.batches import Source
from lnln_jax.data.pairs import Pair
from lnln_jax.data.sampling import Sampler, offsets
from lnln_jax.runtime.processes import usable_cores

AXIS = "data"
_CHUNK = 2**26  # bytes sent at a time

Plan = np.ndarray  # uint32 `B 4`: image, top, left (in LR pixels), symmetry


class ResidentImages(struct.PyTreeNode):
    """All images of a training run, padded to one shape.

    Attributes:
      lr: LR images, uint8 `N H W 3`.
      hr: HR images, uint8 `N H*scale W*scale 3`.
      mesh: mesh of the devices that train; None for one device.
      shared: whether each device has a share of the images, along N, and not all.
    """

    lr: jax.Array
    hr: jax.Array
    mesh: Mesh | None = struct.field(pytree_node=False)
    shared: bool = struct.field(pytree_node=False, default=False)


class Planner:
    """Places of the patches of a step on the device, as items of a `Stream`."""

    def __init__(self, sampler: Sampler, shapes: np.ndarray, lr_patch_size: int) -> None:
        """Takes the sampler and the LR shapes of all images, `N 2`."""
        self._sampler = sampler
        self._shapes = shapes
        self._size = lr_patch_size

    def __call__(self, step: int) -> Plan:
        """Returns the plan of a step, counted from 0."""
        samples = self._sampler(step)
        corners = offsets(samples, self._shapes[samples.image], self._size)
        return np.stack([samples.image, *corners.T, samples.symmetry], axis=1)


def resident_bytes(sources: Sequence[Source]) -> int:
    """Returns the bytes that `put_images` takes for one copy of all images."""
    height, width = _largest(sources)
    return sum(map(len, sources)) * 3 * height * width * (1 + sources[0].scale ** 2)


def put_images(
    sources: Sequence[Source],
    mesh: Mesh,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    shared: bool = False,
) -> tuple[ResidentImages, np.ndarray]:
    """Sends all images to each device, or an equal share of them.

    Args:
      sources: sources of one scale.
      mesh: mesh of the devices of all processes, along one axis; a process sends to its own.
      progress: function called with (images sent, images in all).
      shared: whether to send shares.

    Returns:
      The images, and the shapes of the LR images, int `N 2`.
    """
    devices = list(mesh.devices.flat)
    count, (height, width), scale = sum(map(len, sources)), _largest(sources), sources[0].scale
    sizes = [(factor * height, factor * width, 3) for factor in (1, scale)]  # of LR, of HR
    share = math.ceil(count / len(devices)) if shared else count
    local = [device for device in devices if device.process_index == jax.process_index()]
    stacks = {
        device: tuple(jnp.zeros((share, *size), jnp.uint8, device=device) for size in sizes)
        for device in local
    }
    shapes = np.zeros((count, 2), np.int64)
    pairs = _pairs(sources)
    chunk = max(1, _CHUNK // (3 * height * width * scale**2))
    for first in range(0, count, share):
        owners = [devices[first // share]] if shared else local
        last = min(count, first + share)
        for start in range(first, last, chunk):
            sent = min(chunk, last - start)
            buffers = [np.zeros((sent, *size), np.uint8) for size in sizes]
            for i in range(sent):
                pair = next(pairs)
                shapes[start + i] = pair[0].shape[:2]
                for buffer, image in zip(buffers, pair, strict=True):
                    buffer[i, : image.shape[0], : image.shape[1]] = image
            for device in owners:
                if device in stacks:
                    stacks[device] = tuple(
                        _fill(stack, jax.device_put(buffer, device), start - first)
                        for stack, buffer in zip(stacks[device], buffers, strict=True)
                    )
            progress(start + sent, count)
    if len(devices) == 1:
        lr, hr = stacks[devices[0]]
        return ResidentImages(lr=lr, hr=hr, mesh=None), shapes
    sharding = NamedSharding(mesh, PartitionSpec(AXIS) if shared else PartitionSpec())
    rows = share * len(devices) if shared else count
    lr, hr = (
        jax.make_array_from_single_device_arrays((rows, *parts[0].shape[1:]), sharding, list(parts))
        for parts in zip(*stacks.values(), strict=True)
    )
    return ResidentImages(lr=lr, hr=hr, mesh=mesh, shared=shared), shapes


def cut_patches(images: ResidentImages, plan: jax.Array, lr_patch_size: int) -> dict[str, Any]:
    """Cuts a batch out of images; for use under `jax.jit`.

    Args:
      images: images, as `put_images` made them.
      plan: plan of a `Planner`, integers `B 4`; B is a multiple of the number of devices.
      lr_patch_size: side p of the LR patches.

    Returns:
      "lr", uint8 `B p p 3`, and "hr", uint8 `B p*scale p*scale 3`, divided among the devices.
    """
    cut = partial(_cut, size=lr_patch_size)
    if images.mesh is None:
        return cut(images.lr, images.hr, plan.astype(jnp.int32))
    by_rows, whole = PartitionSpec(AXIS), PartitionSpec()
    if not images.shared:
        return jax.shard_map(
            cut, mesh=images.mesh, in_specs=(whole, whole, by_rows), out_specs=by_rows
        )(images.lr, images.hr, plan.astype(jnp.int32))

    def cut_shared(lr: jax.Array, hr: jax.Array, plan: jax.Array) -> dict[str, jax.Array]:
        local = plan[:, 0] - lax.axis_index(AXIS) * lr.shape[0]
        here = (local >= 0) & (local < lr.shape[0])
        plan = plan.at[:, 0].set(jnp.where(here, local, 0))
        # One device has each patch, the others zeros: the sum is the patch.
        return {
            key: lax.psum_scatter(
                patch * here[:, None, None, None], AXIS, scatter_dimension=0, tiled=True
            )
            for key, patch in cut(lr, hr, plan).items()
        }

    return jax.shard_map(
        cut_shared, mesh=images.mesh, in_specs=(by_rows, by_rows, whole), out_specs=by_rows
    )(images.lr, images.hr, plan.astype(jnp.int32))


def _cut(lr: jax.Array, hr: jax.Array, plan: jax.Array, size: int) -> dict[str, jax.Array]:
    scale = hr.shape[1] // lr.shape[1]
    image, top, left, symmetry = (plan[:, column] for column in range(4))
    return {
        key: _symmetries(_crops(stack, image, factor * top, factor * left, factor * size), symmetry)
        for key, stack, factor in (("lr", lr, 1), ("hr", hr, scale))
    }


def _crops(
    stack: jax.Array, image: jax.Array, top: jax.Array, left: jax.Array, size: int
) -> jax.Array:
    def crop(image: jax.Array, top: jax.Array, left: jax.Array) -> jax.Array:
        return lax.dynamic_slice(stack, (image, top, left, np.int32(0)), (1, size, size, 3))[0]

    return jax.vmap(crop)(image, top, left)


def _symmetries(patches: jax.Array, index: jax.Array) -> jax.Array:
    """Applies `images.arrays.dihedral` with an index for each patch, `B p p 3`."""

    def where(bit: int, changed: jax.Array, patches: jax.Array) -> jax.Array:
        return jnp.where((index & bit).astype(bool)[:, None, None, None], changed, patches)

    patches = where(1, patches[:, :, ::-1], patches)
    patches = where(2, patches[:, ::-1], patches)
    return where(4, patches.swapaxes(1, 2), patches)


def _largest(sources: Sequence[Source]) -> tuple[int, int]:
    largest = [source.largest for source in sources]
    return max(height for height, _ in largest), max(width for _, width in largest)


def _pairs(sources: Sequence[Source]) -> Iterator[Pair]:
    """Yields all pairs in order, decoded by several threads."""
    threads = usable_cores()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for source in sources:
            for start in range(0, len(source), 4 * threads):
                numbers = range(start, min(start + 4 * threads, len(source)))
                yield from pool.map(source.read, numbers)


@partial(jax.jit, donate_argnums=0)
def _fill(stack: jax.Array, chunk: jax.Array, start: int) -> jax.Array:
    return lax.dynamic_update_slice(stack, chunk, (start, 0, 0, 0))
