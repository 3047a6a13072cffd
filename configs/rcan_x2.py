"""RCAN x2 as published (Zhang et al., ECCV 2018): 15.44 M parameters; x3 and x4 from it.

Expected on Set5: x2 38.27 dB / 0.9614, x4 32.63 / 0.9002 (the LNLN paper's Table 1), x3 34.74 /
0.9299 (the RCAN paper). 1000 epochs of 1000 steps, the rate halved every 200. x3 (15.63 M) and x4
(15.59 M) start from the trained x2 network, tail excepted.

    lnln prepare div2k --scales 2,3,4
    lnln train rcan_x2 data.validation=data/Set5
    lnln train rcan_x2 model.scale=3 init_from=runs/rcan_x2 --output runs/rcan_x3
    lnln train rcan_x2 model.scale=4 init_from=runs/rcan_x2 --output runs/rcan_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("rcan", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
)
