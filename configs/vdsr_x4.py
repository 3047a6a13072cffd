"""VDSR x4 (Kim et al., CVPR 2016) on luma: 0.66 M parameters.

Expected: 31.35 dB / 0.8830 on Set5 (the LNLN paper's Table 1). SGD at a rate of 0.1 that
falls to a tenth every 20 of 80 epochs, momentum 0.9, weight decay 1e-4, clipped gradients, batches
of 64 patches of about 41x41 HR pixels. An epoch is taken as 1000 steps; the authors trained one
network for x2, x3 and x4 together, this is one for x4. Patches are
interpolated by themselves, so within 2 LR pixels of their borders their input differs from that of
the authors, who cut them out of interpolated images. Training images: T91 and 200 of the Berkeley
data set.

    lnln train configs/vdsr_x4.py data.train=data/T91,data/BSD200 data.validation=data/Set5
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("vdsr", scale=4),
    data=DataConfig(
        train=("data/T91", "data/BSD200"),
        validation="data/Set5",
        lr_patch_size=10,
        batch_size=64,
    ),
    optimizer=OptimizerConfig(
        name="sgd",
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        clip_norm=0.4,
        decay_factor=0.1,
        decay_every_epochs=20,
    ),
    loss="l2",
    steps=80_000,
)
