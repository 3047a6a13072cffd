"""DRCA x2 (Jang and Park, CVPRW 2019), the network that LNLN compresses.

Expected: 38.28 dB / 0.9615 on Set5 (as the LNLN paper's Table 1 quotes DRCA). Adam's second beta
is DRCA's own 0.999.

    lnln prepare div2k --scales 2
    lnln train configs/drca_x2.py data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("drca", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
)
