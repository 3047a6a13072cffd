"""LNLN x2 as published (Wang et al., ICASSP 2021): 2.04 M parameters; x3 and x4 from it.

Expected on Set5: x2 38.32 dB / 0.9618, x4 32.72 / 0.9012 (the paper's Table 1; it has no x3
results). 1000 epochs of 1000 steps, the length of DRCA's training; the paper does not give its own.
x4 starts from the trained x2 network, tail excepted; x3 from random weights, as x4 does without
`init_from`.

    lnln prepare div2k --scales 2,3,4
    lnln train lnln_x2 data.validation=data/Set5
    lnln train lnln_x2 model.scale=3 --output runs/lnln_x3
    lnln train lnln_x2 model.scale=4 init_from=runs/lnln_x2 --output runs/lnln_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("lnln", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
)
