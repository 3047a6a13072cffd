"""RCAN x3 as published (Zhang et al., ECCV 2018): 15.63 M parameters.

Expected: 34.74 dB / 0.9299 on Set5 (the RCAN paper). 1000 epochs of 1000 steps, the rate
halved every 200. It starts from a trained x2 network, tail excepted.

    lnln train configs/rcan_x3.py init_from=runs/rcan_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("rcan", scale=3),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    init_from="runs/rcan_x2",
)
