"""DRCA x4 (Jang and Park, CVPRW 2019), the network that LNLN compresses.

Expected: 32.68 dB / 0.9009 on Set5 (as the LNLN paper's Table 1 quotes DRCA). Adam's second beta
is DRCA's own 0.999. It starts from a trained x2 network, tail excepted.

    lnln prepare div2k --scales 4
    lnln train configs/drca_x4.py init_from=runs/drca_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("drca", scale=4),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    init_from="runs/drca_x2",
)
