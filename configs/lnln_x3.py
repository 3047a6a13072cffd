"""LNLN x3. The paper has no x3 results; the recipe is that of x2.

lnln prepare div2k --scales 3
lnln train configs/lnln_x3.py data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("lnln", scale=3),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
)
