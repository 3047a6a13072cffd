"""EDSR-baseline x2 (Lim et al., CVPRW 2017): 1.37 M parameters; x3 and x4 from it.

16 blocks of 64 features. Expected on Set5: about 37.99 dB at x2, 34.37 at x3, 32.09 at x4 (as later
papers quote it). 300,000 steps, the rate halved after 200,000. x3 (1.55 M) and x4 (1.52 M) start
from the trained x2 network, tail excepted.

    lnln prepare div2k --scales 2,3,4
    lnln train edsr_baseline_x2 data.validation=data/Set5
    lnln train edsr_baseline_x2 model.scale=3 init_from=runs/edsr_baseline_x2 \\
        --output runs/edsr_baseline_x3
    lnln train edsr_baseline_x2 model.scale=4 init_from=runs/edsr_baseline_x2 \\
        --output runs/edsr_baseline_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("edsr_baseline", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
    steps=300_000,
)
