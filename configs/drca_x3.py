"""DRCA x3 (Jang and Park, CVPRW 2019), the network that LNLN compresses.

The LNLN paper has no x3 results. Adam's second beta is DRCA's own 0.999.

    lnln prepare div2k --scales 3
    lnln train configs/drca_x3.py data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("drca", scale=3),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
)
