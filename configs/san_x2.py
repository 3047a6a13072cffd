"""SAN x2 as its authors' project trains it (Dai et al., CVPR 2019): 15.67 M parameters; x3, x4 too.

Expected on Set5: 38.31 dB / 0.9620 at x2, 34.75 / 0.9300 at x3, 32.64 / 0.9003 at x4 (the paper, as
quoted from memory; the authors' own five images at x4 give 32.611 / 0.9002). Batches of 16 patches
of 48x48 pixels, L1, Adam, the rate times 0.6 every 50 epochs of 1000 steps; the paper halves it
every 200. The number of epochs is RCAN's, 1000. x3 (15.86 M) and x4 (15.82 M) start from the
trained x2 network, tail excepted.

The authors test images cut in quarters that reach 10 pixels beyond the middle, and those again from
160,000 pixels on, so that attention and covariances never see a whole image, as they do here. With
Python, `upscaler.upscale(lr, tile=side // 2 + 10, overlap=20)` cuts a square of even side so.

    lnln prepare div2k --scales 2,3,4
    lnln train san_x2 data.validation=data/Set5
    lnln train san_x2 model.scale=3 init_from=runs/san_x2 --output runs/san_x3
    lnln train san_x2 model.scale=4 init_from=runs/san_x2 --output runs/san_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("san", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(decay_factor=0.6, decay_every_epochs=50),
)
