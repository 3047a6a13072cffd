"""RCAN x4 as published (Zhang et al., ECCV 2018): 15.59 M parameters.

Expected: 32.63 dB / 0.9002 on Set5 (the LNLN paper's Table 1). 1000 epochs of 1000 steps, the rate
halved every 200. It starts from a trained x2 network, tail excepted.

    lnln prepare div2k --scales 4
    lnln train configs/rcan_x4.py init_from=runs/rcan_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("rcan", scale=4),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    init_from="runs/rcan_x2",
)
