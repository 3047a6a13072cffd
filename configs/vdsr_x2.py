"""VDSR x2 on luma (Kim et al., CVPR 2016): 0.66 M parameters; x3 and x4 likewise.

Expected on Set5: x2 37.53 dB / 0.9590, x4 31.35 / 0.8830 (the LNLN paper's Table 1), x3 33.66 /
0.9213 (the VDSR paper). SGD at a rate of 0.1 that falls to a tenth every 20 of 80 epochs, momentum
0.9, weight decay 1e-4, clipped gradients, batches of 64 patches of about 41x41 HR pixels. An epoch
is taken as 1000 steps; the authors trained one network for x2, x3 and x4 together, these are one
for each. Patches are interpolated by themselves, so within 2 LR pixels of their borders their input
differs from that of the authors, who cut them out of interpolated images. Training images: T91 and
200 of the Berkeley dataset.

    lnln train vdsr_x2 data.train=data/T91,data/BSD200 data.validation=data/Set5
    lnln train vdsr_x2 model.scale=3 data.lr_patch_size=14 --output runs/vdsr_x3
    lnln train vdsr_x2 model.scale=4 data.lr_patch_size=10 --output runs/vdsr_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("vdsr", scale=2),
    data=DataConfig(
        train=("data/T91", "data/BSD200"),
        validation="data/Set5",
        lr_patch_size=20,
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
