"""DRCA x2 (Jang and Park, CVPRW 2019), the network that LNLN compresses; x3 and x4 from it.

Expected on Set5: x2 38.28 dB / 0.9615, x4 32.68 / 0.9009 (as the LNLN paper's Table 1 quotes DRCA;
it has no x3 results). Adam's second beta is DRCA's own 0.999. x4 starts from the trained x2
network, tail excepted; x3 from random weights.

    lnln prepare div2k --scales 2,3,4
    lnln train drca_x2 data.validation=data/Set5
    lnln train drca_x2 model.scale=3 --output runs/drca_x3
    lnln train drca_x2 model.scale=4 init_from=runs/drca_x2 --output runs/drca_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("drca", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
)
