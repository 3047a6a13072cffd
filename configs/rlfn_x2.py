"""RLFN x2 (Kong et al., CVPRW 2022): 526,856 parameters; x3, x4 and RLFN-S likewise.

Expected on Set5 after all stages: x2 38.07 dB / 0.9607, x4 32.24 / 0.8952 (the paper); RLFN-S x2
38.05 / 0.9607, x4 32.23 / 0.8961. A stage is 1,000,000 steps of 64 HR patches of 256 pixels (255 at
x3), L1, Adam at 5e-4 halved every 200,000. There are three, the second and the third starting from
the weights of the one before at the full rate again ("warm start"). The authors' training code is
not public: this is the paper's recipe. The challenge's form, `model.name=rlfn_ntire model.scale=4`,
had further stages with a contrastive loss and with L2, which are not here.

    lnln prepare div2k --scales 2,3,4 --step 216
    lnln train rlfn_x2 data.validation=data/Set5 --output runs/rlfn_x2_stage_1
    lnln train rlfn_x2 init_from=runs/rlfn_x2_stage_1 --output runs/rlfn_x2_stage_2
    lnln train rlfn_x2 init_from=runs/rlfn_x2_stage_2 --output runs/rlfn_x2
    lnln train rlfn_x2 model.scale=3 data.lr_patch_size=85 --output runs/rlfn_x3_stage_1
    lnln train rlfn_x2 model.scale=4 data.lr_patch_size=64 --output runs/rlfn_x4_stage_1
    lnln train rlfn_x2 model.name=rlfn_s --output runs/rlfn_s_x2_stage_1
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("rlfn", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5", lr_patch_size=128, batch_size=64),
    optimizer=OptimizerConfig(learning_rate=5e-4, b2=0.999),
)
