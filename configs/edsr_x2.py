"""EDSR x2 as published (Lim et al., CVPRW 2017): 40.73 M parameters; x3 and x4 from it.

Expected on Set5: x2 38.11 dB / 0.9602, x4 32.46 / 0.8968 (the LNLN paper's Table 1), x3 34.65 /
0.9280 (the EDSR paper). 300,000 steps, the rate halved after 200,000. x3 (43.68 M) and x4 (43.09 M)
start from the trained x2 network, tail excepted.

    lnln prepare div2k --scales 2,3,4
    lnln train edsr_x2 data.validation=data/Set5
    lnln train edsr_x2 model.scale=3 init_from=runs/edsr_x2 --output runs/edsr_x3
    lnln train edsr_x2 model.scale=4 init_from=runs/edsr_x2 --output runs/edsr_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("edsr", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    steps=300_000,
)
