import numpy as np
from PIL import Image

from lnln_jax.images.resize import imresize
from lnln_jax.inference.bicubic import BicubicUpscaler


def test_bicubic_is_imresize(data_dir):
    with Image.open(data_dir / "Set5" / "LRx2" / "butterfly.png") as file:
        lr = np.asarray(file)
    bicubic = BicubicUpscaler(3)
    assert (bicubic.name, bicubic.scale, bicubic.module, bicubic.variables) == (
        "bicubic",
        3,
        None,
        {},
    )
    np.testing.assert_array_equal(bicubic.upscale(lr), imresize(lr, 3))
    options = {"self_ensemble": True, "tile": 32, "overlap": 8}
    np.testing.assert_array_equal(bicubic.upscale(lr, **options), imresize(lr, 3))
    x = lr.astype(np.float32)
    np.testing.assert_array_equal(bicubic.upscale_float(x, self_ensemble=True), imresize(x, 3))
    assert bicubic.upscale(lr[:1, :1]).shape == (3, 3, 3)
    assert bicubic.upscale(lr[..., :1]).shape == (384, 384, 1)
    assert bicubic.upscale(lr[..., 0]).shape == (384, 384)
    assert bicubic.compile(lr.shape) == 0
