"""EDSR-baseline x3 (Lim et al., CVPRW 2017): 16 blocks of 64 features, 1.55 M parameters.

Expected: about 34.37 dB on Set5 (as later papers quote it). 300,000 steps, the rate halved
after 200,000. It starts from a trained x2 network, tail excepted.

    lnln train configs/edsr_baseline_x3.py init_from=runs/edsr_baseline_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("edsr_baseline", scale=3),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    steps=300_000,
    init_from="runs/edsr_baseline_x2",
)
