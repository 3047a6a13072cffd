"""EDSR-baseline x2 (Lim et al., CVPRW 2017): 16 blocks of 64 features, 1.37 M parameters.

Expected: about 37.99 dB on Set5 (as later papers quote it). 300,000 steps, the rate halved
after 200,000.

    lnln prepare div2k --scales 2
    lnln train configs/edsr_baseline_x2.py data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("edsr_baseline", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    steps=300_000,
)
