"""LNLN x2 as published (Wang et al., ICASSP 2021): 2.04 M parameters.

Expected: 38.32 dB / 0.9618 on Set5 (the paper's Table 1). 1000 epochs of 1000 steps, the length
of DRCA's training; the paper does not give its own.

    lnln prepare div2k --scales 2
    lnln train configs/lnln_x2.py data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("lnln", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
)
