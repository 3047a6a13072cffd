"""RFDN x4 of the AIM 2020 challenge (Liu et al., ECCVW 2020): 433,448 parameters.

Expected on Set5: 32.16 dB / 0.8946, which the published weights give. DIV2K and Flickr2K (as the
folder data/Flickr2K), L1, Adam at 5e-4. Patches, batches and the halving of the rate are those of
RLFN, whose authors followed this network's; the challenge's training code is not public. It ended
with L2, which the second run does, at a guessed rate.

    lnln prepare div2k --scales 2,3,4 --step 216
    lnln prepare folder data/Flickr2K --name flickr2k --scales 2,3,4 --step 216
    lnln train rfdn_x4 data.validation=data/Set5
    lnln train rfdn_x4 init_from=runs/rfdn_x4 loss=l2 optimizer.learning_rate=1e-5 \\
        --output runs/rfdn_x4_l2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("rfdn", scale=4),
    data=DataConfig(
        train=("div2k_sub", "flickr2k"), validation="data/Set5", lr_patch_size=64, batch_size=64
    ),
    optimizer=OptimizerConfig(learning_rate=5e-4, b2=0.999),
)
