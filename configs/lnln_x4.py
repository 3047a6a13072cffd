"""LNLN x4 as published (Wang et al., ICASSP 2021), from a trained x2 network, tail excepted.

Expected: 32.72 dB / 0.9012 on Set5 (the paper's Table 1).

    lnln prepare div2k --scales 4
    lnln train configs/lnln_x4.py init_from=runs/lnln_x2

Without a trained x2 network: `init_from=` (empty) starts from random weights.
"""

from lnln_jax.config import DataConfig, ModelConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("lnln", scale=4),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    init_from="runs/lnln_x2",
)
