"""Flax modules that the networks share: each takes and returns feature maps `B H W C`.

`dtype` is the dtype of the computation, float32 or bfloat16; parameters and batch statistics are
float32. (In JAX's x64 mode, float64 parameters and dtype give a reference of higher precision.) New
weights are drawn as PyTorch draws them (uniform, bound 1 / sqrt(fan_in), for kernels and biases),
since the published networks were trained from there.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from lnln_jax.kernels.attention import region_attention
from lnln_jax.kernels.convolution import add_bias, channel_product, conv, depthwise_conv3x3
from lnln_jax.kernels.normalization import moments, normalize, scale_channels
from lnln_jax.kernels.reference import widen

Initializer = Callable[[jax.Array, tuple[int, ...], jnp.dtype], jax.Array]
Layer = Callable[..., nn.Module]  # a module of this file, or a partial of one, for other modules
leaky_relu = partial(nn.leaky_relu, negative_slope=0.05)  # of IMDN, RFDN and RLFN

# The mean of DIV2K's training images, RGB in 0..255; subtracted before the head, added at the end.
# Multiplied in float32, as EDSR's code does: the published files hold these very numbers.
DIV2K_MEAN = tuple(float(np.float32(255) * np.float32(mean)) for mean in (0.4488, 0.4371, 0.4040))
# The steps in which features are enlarged, by scale.
UPSAMPLING = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


def uniform_fan_in(fan_in: int) -> Initializer:
    """Returns PyTorch's initializer of convolutions, uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def check_reduction(n_feats: int, reduction: int) -> None:
    """Raises ValueError if channel attention has no channel left."""
    if n_feats // reduction < 1 or n_feats < 2:
        raise ValueError(
            f"n_feats is {n_feats}, which reduction {reduction} leaves no channel of; choose "
            "n_feats of at least the reduction"
        )


def subtract_mean(x: jax.Array) -> jax.Array:
    """Subtracts `DIV2K_MEAN` from `B H W 3` in 0..255."""
    return x - jnp.asarray(DIV2K_MEAN, x.dtype)


def add_mean(x: jax.Array) -> jax.Array:
    """Adds `DIV2K_MEAN` to `B H W 3`."""
    return x + jnp.asarray(DIV2K_MEAN, x.dtype)


def chain(block: nn.Module, x: jax.Array, length: int, *each: jax.Array) -> jax.Array:
    """Applies blocks that are alike one after the other.

    Args:
      block: the first of them; its parameters become arrays in which all blocks' are stacked along
        a leading axis, so that one block is compiled instead of all.
      x: what the first block takes, of the shape and dtype of what a block returns.
      length: the number of blocks.
      *each: arrays of which the blocks get a row each, after `x`.
    """
    scan = nn.scan(
        lambda block, x, each: (block(x, *each), None),
        variable_axes={"params": 0},
        split_rngs={"params": True},
        length=length,
    )
    return scan(block, x, each)[0]


def chain_outputs(block: nn.Module, x: jax.Array, length: int) -> jax.Array:
    """Applies blocks as `chain` does; returns all their outputs side by side, `B H W length*C`."""

    def run(block: nn.Module, x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        x = block(x)
        return x, x

    scan = nn.scan(run, variable_axes={"params": 0}, split_rngs={"params": True}, length=length)
    _, outputs = scan(block, x, None)
    return jnp.moveaxis(outputs, 0, -2).reshape(*x.shape[:-1], -1)


class Conv(nn.Module):
    """Convolution with zero padding that keeps the size (odd kernels).

    `init_with` draws kernel and bias; None stands for PyTorch's default. `groups` of channels see
    only themselves. With a `stride` there is no padding.
    """

    features: int
    kernel_size: int = 3
    use_bias: bool = True
    init_with: Initializer | None = None
    groups: int = 1
    stride: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves `B H W I` to `B H W features`; at a stride, fewer rows and columns."""
        size, inputs = self.kernel_size, x.shape[-1] // self.groups
        init = self.init_with or uniform_fan_in(size**2 * inputs)
        kernel = self.param("kernel", init, (size, size, inputs, self.features), jnp.float32)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if size == self.groups == self.stride == 1:
            x = channel_product(x, kernel[0, 0])
        else:
            x = conv(x, kernel, groups=self.groups, stride=self.stride)
        if not self.use_bias:
            return x
        bias = self.param("bias", init, (self.features,), jnp.float32)
        return add_bias(x, bias.astype(self.dtype))


class MeanShift(nn.Module):
    """1x1 convolution that begins as an addition of `sign` times `DIV2K_MEAN`, and may learn.

    EDSR's successors meant to freeze this layer of theirs; in published weights it has moved.
    """

    sign: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W 3` to the same shape, float32."""

        def identity(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
            return jnp.eye(3, dtype=dtype).reshape(shape)

        def mean(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
            return self.sign * jnp.asarray(DIV2K_MEAN, dtype)

        kernel = self.param("kernel", identity, (1, 1, 3, 3), jnp.float32)
        bias = self.param("bias", mean, (3,), jnp.float32)
        return add_bias(channel_product(x, kernel[0, 0]), bias)


class DepthwiseConv(nn.Module):
    """Depthwise 3x3 convolution with bias and zero padding 1."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves each channel of `B H W C` by itself."""
        init = uniform_fan_in(9)
        kernel = self.param("kernel", init, (3, 3, x.shape[-1]), jnp.float32)
        bias = self.param("bias", init, (x.shape[-1],), jnp.float32)
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        return depthwise_conv3x3(x, kernel, bias)


class DepthwiseSeparableConv(nn.Module):
    """DSC: depthwise 3x3, then pointwise 1x1, nothing in between (LNLN paper, section 2.2)."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves `B H W I` to `B H W features`."""
        x = DepthwiseConv(dtype=self.dtype, name="depthwise")(x)
        return Conv(self.features, 1, dtype=self.dtype, name="pointwise")(x)


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's conventions (Ioffe and Szegedy, 2015).

    `momentum` is the share that a running statistic keeps, so 0.9 is PyTorch's 0.1. The running
    variance is the unbiased one, as in PyTorch and unlike `flax.linen.BatchNorm`: weights that go
    from one framework to the other mean the same. `axis_name` names the devices over whose parts of
    the batch the statistics are taken; None: each device has a batch of its own.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises `B H W C` with the batch's statistics (`train`) or the running ones."""
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        if not train:
            factor = scale * lax.rsqrt(running_var.value + self.epsilon)
            return normalize(x, running_mean.value, factor, bias)
        axis_name = None if self.is_initializing() else self.axis_name
        mean, var = moments(x, axis_name)
        if not self.is_initializing():
            count = x.size // x.shape[-1] * (lax.axis_size(axis_name) if axis_name else 1)
            unbiased = var * (count / max(count - 1, 1))
            for running, new in ((running_mean, mean), (running_var, unbiased)):
                new = lax.stop_gradient(new)
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        return normalize(x, mean, scale * lax.rsqrt(var + self.epsilon), bias)


def channel_means(x: jax.Array) -> jax.Array:
    """Returns the means over the positions of `B H W C`: `B C`, float32 or wider."""
    return widen(x).mean((1, 2))


class ChannelAttention(nn.Module):
    """Channel attention: each channel times a factor, from a statistic of all.

    `statistic` makes `B C` of `B H W C`: by default the means (RCAN, ECCV 2018).
    """

    reduction: int = 16
    statistic: Callable[[jax.Array], jax.Array] = channel_means
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Multiplies each channel of `B H W C` by its factor, between 0 and 1."""
        features = x.shape[-1]
        statistic = self.statistic(x)[:, None, None].astype(self.dtype)
        hidden = Conv(features // self.reduction, 1, dtype=self.dtype, name="squeeze")(statistic)
        logits = Conv(features, 1, dtype=self.dtype, name="excite")(nn.relu(hidden))
        return scale_channels(x, widen(nn.sigmoid(logits)[:, 0, 0]))


class RegionNonLocal(nn.Module):
    """Region non-local module (LNLN paper, equations 1 to 3 and figure 2).

    The output projection starts at zero, so the module is the identity at initialisation.
    `pool` and `attention` are what `attention.region_attention` takes, the latter as
    `implementation`.
    """

    inner_features: int
    pool: int = 1
    attention: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Adds to each position of `B H W C` what its region says; H and W at least 2 `pool`."""
        projections = [
            Conv(self.inner_features, 1, dtype=self.dtype, name=name)(x)
            for name in ("theta", "phi", "g")
        ]
        y = region_attention(*projections, pool=self.pool, implementation=self.attention)
        zeros = nn.initializers.zeros
        return x + Conv(x.shape[-1], 1, init_with=zeros, dtype=self.dtype, name="w")(y)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """Rearranges `B H W C*factor*factor` to `B H*factor W*factor C`.

    Channels are ordered (C, row, column) as in PyTorch (Shi et al., 2016), not (row, column, C).

    Raises:
      ValueError: The number of channels is not a multiple of the square of `factor`.
    """
    batch, height, width, channels = x.shape
    if channels % (factor * factor):
        raise ValueError(
            f"x has {channels} channels, which is not a multiple of factor**2 = {factor * factor}; "
            "let the convolution before it produce C * factor**2 channels"
        )
    x = x.reshape(batch, height, width, -1, factor, factor)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(batch, height * factor, width * factor, -1)


class Upsampler(nn.Module):
    """Convolution and pixel shuffle: by 2 once (x2), twice (x4) or three times (x8); by 3 (x3)."""

    scale: int
    conv: Layer = Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Upsamples `B H W C` to `B H*scale W*scale C`.

        Raises:
          ValueError: `scale` is not 2, 3, 4 or 8.
        """
        if self.scale not in UPSAMPLING:
            raise ValueError(f"scale is {self.scale}; the published networks have 2, 3, 4 and 8")
        features = x.shape[-1]
        for i, factor in enumerate(UPSAMPLING[self.scale], start=1):
            x = self.conv(features * factor**2, name=f"conv_{i}")(x)
            x = pixel_shuffle(x, factor)
        return x
