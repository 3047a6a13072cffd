"""EDSR x4 as published (Lim et al., CVPRW 2017), the large network: 43.09 M parameters.

Expected: 32.46 dB / 0.8968 on Set5 (the LNLN paper's Table 1). 300,000 steps, the rate halved
after 200,000. It starts from a trained x2 network, tail excepted.

    lnln prepare div2k --scales 4
    lnln train configs/edsr_x4.py init_from=runs/edsr_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("edsr", scale=4),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    steps=300_000,
    init_from="runs/edsr_x2",
)
