"""EDSR x2 as published (Lim et al., CVPRW 2017), the large network: 40.73 M parameters.

Expected: 38.11 dB / 0.9602 on Set5 (the LNLN paper's Table 1). 300,000 steps, the rate halved
after 200,000.

    lnln prepare div2k --scales 2
    lnln train configs/edsr_x2.py data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("edsr", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    steps=300_000,
)
