"""CARN-M x2 (Ahn et al., ECCV 2018), for phones: 0.26 M parameters; x3 and x4 likewise.

Expected on Set5: 37.53 dB / 0.9583 at x2, 33.99 / 0.9236 at x3, 31.92 / 0.8903 at x4 (the project's
table); the published weights give 37.68 / 0.9595, 34.06 / 0.9248 and 31.88 / 0.8910. The recipe is
that of `carn_x2`; here too the authors train one network for x2, x3 and x4, whose scale is drawn
anew for each step. x3 has 0.30 M, x4 0.29 M parameters.

    lnln prepare div2k --scales 2,3,4 --step 216
    lnln train carn_m_x2 data.validation=data/Set5
    lnln train carn_m_x2 model.scale=3 --output runs/carn_m_x3
    lnln train carn_m_x2 model.scale=4 --output runs/carn_m_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("carn_m", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5", lr_patch_size=64, batch_size=64),
    optimizer=OptimizerConfig(b2=0.999, decay_every_epochs=400, clip_norm=10.0),
    steps=600_000,
)
