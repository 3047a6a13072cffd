"""EDSR-baseline x4 (Lim et al., CVPRW 2017): 16 blocks of 64 features, 1.52 M parameters.

Expected: about 32.09 dB on Set5 (as later papers quote it). 300,000 steps, the rate halved
after 200,000. It starts from a trained x2 network, tail excepted.

    lnln prepare div2k --scales 4
    lnln train configs/edsr_baseline_x4.py init_from=runs/edsr_baseline_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("edsr_baseline", scale=4),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    steps=300_000,
    init_from="runs/edsr_baseline_x2",
)
