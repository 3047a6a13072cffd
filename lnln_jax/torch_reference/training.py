"""The training step of `training.step` and `training.optimizer` in PyTorch."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

if TYPE_CHECKING:
    from lnln_jax.config import OptimizerConfig

NORMALISED = ("lnln", "drca")  # the networks with BatchNorm
CANCELLING = (*NORMALISED, "san")  # those with biases that the next operation takes away


def rgb_to_y(x: torch.Tensor) -> torch.Tensor:
    """Turns `B 3 H W` RGB in 0..255 into luma `B 1 H W`: ITU-R BT.601, studio range."""
    red, green, blue = x.split(1, dim=1)
    return 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255


def training_loss(
    network: Callable[[torch.Tensor], torch.Tensor],
    lr: torch.Tensor,
    hr: torch.Tensor,
    kind: Literal["l1", "l2"],
    n_colors: int = 3,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the loss of RGB images in 0..255, and the super-resolved ones.

    `kind` is "l1", the mean absolute error, or "l2", half the squared error in units of 0..1,
    summed over an image and averaged over the batch. With one colour, all is about luma.
    """
    if n_colors == 1:
        lr, hr = rgb_to_y(lr), rgb_to_y(hr)
    sr = network(lr)
    residual = sr - hr
    if kind == "l1":
        return residual.abs().mean(), sr
    return 0.5 * (residual / 255).square().sum() / len(lr), sr


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: "OptimizerConfig", *, capturable: bool = False
) -> Callable[[], None]:
    """Makes what `lnln_jax.training.optimizer.make_optimizer` makes of the same configuration.

    Returns a function that takes a step with the gradients that the parameters have; `capturable`
    makes it one that a CUDA graph can hold.
    """
    parameters = [p for p in parameters if p.requires_grad]
    rate = config.learning_rate
    if config.name == "adam":
        betas = config.b1, config.b2
        optimizer: torch.optim.Optimizer = torch.optim.Adam(
            parameters, rate, betas, config.eps, fused=True, capturable=capturable
        )
    else:
        optimizer = torch.optim.SGD(
            parameters, rate, config.momentum, weight_decay=config.weight_decay, fused=True
        )
    scheduler = torch.optim.lr_scheduler.StepLR(
        optimizer, config.decay_every_epochs * config.steps_per_epoch, config.decay_factor
    )

    def step() -> None:
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimizer.step()
        scheduler.step()

    return step


def is_cancelled(name: str, key: str) -> bool:
    """Returns whether a PyTorch key is that of a bias that the next operation takes away again.

    In training, BatchNorm subtracts the mean and with it whatever its convolution adds to a whole
    channel (a separable convolution: both of its halves); the softmax over positions j cancels
    theta_i . bias(phi). The gradients of such biases are zero but for rounding.
    """
    before_norm = r"body\.\d+\.body\.\d+\.body\.[03](\.depthwise|\.pointwise)?\.bias"
    return name in CANCELLING and (
        key in ("non_local.phi.bias", "non_local.non_local.phi.0.bias")
        or re.fullmatch(before_norm, key) is not None
    )
