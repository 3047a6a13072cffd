"""RCAN x2 as published (Zhang et al., ECCV 2018): 15.44 M parameters.

Expected: 38.27 dB / 0.9614 on Set5 (the LNLN paper's Table 1). 1000 epochs of 1000 steps, the rate
halved every 200.

    lnln prepare div2k --scales 2
    lnln train configs/rcan_x2.py data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("rcan", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
)
