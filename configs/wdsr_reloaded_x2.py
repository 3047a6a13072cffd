"""WDSR x2 by its authors' later program: 1.19 M parameters; x3 and x4 too.

Expected on Set5: x2 38.08 dB, x3 34.45, x4 32.22 (the authors' project). L1, Adam, the rate of 1e-3
times 0.2 after 20 and after 25 of 30 epochs of 50,000 steps, LR patches of 48, each scale (1.20 M)
from scratch. The authors cut no patch within two pixels of an image's border. The large form has
37.8 M parameters and reaches 38.28, 34.76 and 32.58 dB:
`model.name=wdsr_reloaded_large` in any of these commands.

    lnln prepare div2k --scales 2,3,4
    lnln train wdsr_reloaded_x2 data.validation=data/Set5
    lnln train wdsr_reloaded_x2 model.scale=3 --output runs/wdsr_reloaded_x3
    lnln train wdsr_reloaded_x2 model.scale=4 --output runs/wdsr_reloaded_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("wdsr_reloaded", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(
        learning_rate=1e-3,
        b2=0.999,
        decay_factor=0.2,
        decay_at_epochs=(20, 25),
        steps_per_epoch=50_000,
    ),
    steps=1_500_000,
)
