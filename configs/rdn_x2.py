"""RDN x2 as published (Zhang et al., CVPR 2018): 22.12 M parameters; x3 and x4 from it.

Expected on Set5: x2 38.24 dB / 0.9614, x3 34.71 / 0.9296, x4 32.47 / 0.8990 (the paper). L1, Adam,
the rate of 1e-4 halved every 200 epochs of 1000 steps. x3 (22.31 M) and x4 (22.27 M) start from the
trained x2 network, upsampler excepted, with LR patches of 32 instead of 48. The authors' scripts
name no last epoch; 1000 are usual for EDSR's successors. They also leave out a step whose loss is
above three times the last epoch's mean, and subtract the mean colour first; this network is the
EDSR authors' port, which does not.

    lnln prepare div2k --scales 2,3,4
    lnln train rdn_x2 data.validation=data/Set5
    lnln train rdn_x2 model.scale=3 data.lr_patch_size=32 init_from=runs/rdn_x2 \\
        --output runs/rdn_x3
    lnln train rdn_x2 model.scale=4 data.lr_patch_size=32 init_from=runs/rdn_x2 \\
        --output runs/rdn_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("rdn", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
)
