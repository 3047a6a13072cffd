"""Makers of LR images: each is the program that it is called after."""

import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluation.image_pairs import open_pairs
from lnln_jax.evaluation.lr_makers import MAKERS, Agreement, compare, percent, together, verdict
from lnln_jax.images.resize import imresize

(MATLAB, OLD_MATLAB, FLOATING, PILLOW, PYTORCH, NO_ANTIALIASING, AREA) = (m.name for m in MAKERS)
# What OpenCV 5.0.0 makes of `noise(scale)`: its INTER_CUBIC, its INTER_AREA.
OPENCV = {
    2: (
        "57d0814d8f35aa8640648d86b058ba5a826e90bcb6857f78"
        "bf9ae8afd7064c21d0a08f960c5470e9239ca63fa37d7a2d",
        "5abe865d9843a18f526987859f7aaa5f83748ea0ab858b77"
        "b589cfa2b2346441b8978c892d5779d32c86a4439a7d7749",
    ),
    3: (
        "d04e1c7fb2ed9a82f8dca1e71420ebcf3a35f53f07d11fa8"
        "63ba3b1504336a71d81b60f5541a0503002731899f8215bc",
        "859175879e9c829b7969a0727758a28c68a97585598e418e"
        "5b98499d628096778b6f5a8d9c75655ea43b70736d617e79",
    ),
    4: (
        "5fac47b3c884cb5c95e74f9a7aa66e709b6ea7958e5054b0"
        "786fc013d59ee8bf8e6aa87d7481b7c2a3aba085149c7445",
        "8492a58a717a7e725584808c7087767f768f8a705566847a"
        "7a74ae6f707e787a846f70708577909a7f8674796a8f6489",
    ),
}


def noise(scale: int, side: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side * scale, side * scale, 3), np.uint8)


def found(lr: np.ndarray, hr: np.ndarray, scale: int) -> list[str]:
    names, _ = verdict(compare(lr, hr, scale))
    return names


@pytest.mark.parametrize("scale", OPENCV)
def test_opencv(scale):
    for name, digits in zip((NO_ANTIALIASING, AREA), OPENCV[scale], strict=True):
        lr = np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(4, 4, 3)
        agreement = next(a for a in compare(lr, noise(scale), scale) if a.name == name)
        assert agreement == (name, 16, 16, 0)
        assert found(lr, noise(scale), scale) == [name]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_pytorch(scale):
    torch = pytest.importorskip("torch")
    hr = noise(scale, side=40)
    images = torch.from_numpy(hr.transpose(2, 0, 1).copy())[None].float() / 255
    for antialias, name in ((True, PYTORCH), (False, NO_ANTIALIASING)):
        lr = torch.nn.functional.interpolate(
            images, (40, 40), mode="bicubic", align_corners=False, antialias=antialias
        )
        lr = (lr * 255).round().clip(0, 255).byte()[0].permute(1, 2, 0).numpy()
        assert found(lr, hr, scale) == [name]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_imresize_and_pillow(scale):
    hr = noise(scale, side=40)
    assert found(imresize(hr, 1 / scale), hr, scale) == [MATLAB]
    assert found(imresize(hr, 1 / scale, border="replicate"), hr, scale) == [OLD_MATLAB]
    floating = imresize(hr / 255, 1 / scale) * 255
    assert found(floating.round().clip(0, 255).astype(np.uint8), hr, scale) == [FLOATING]
    resized = Image.fromarray(hr).resize((40, 40), Image.Resampling.BICUBIC)
    assert found(np.asarray(resized), hr, scale) == [PILLOW]


def test_makers_that_give_the_same_are_all_named():
    hr = np.full((24, 24, 3), 77, np.uint8)
    names, sentence = verdict(compare(hr[::2, ::2], hr, 2))
    assert names == [maker.name for maker in MAKERS]
    assert sentence.startswith(f"LR was made by {MATLAB} or {OLD_MATLAB} or ")


def test_verdicts():
    near = Agreement("A", 1000, 985, 1)
    names, sentence = verdict([Agreement("B", 1000, 900, 1), near])
    assert names == ["A"]
    assert sentence == (
        "LR was made by A, but for rounding: 98.50 % of the pixels are equal, the largest "
        "difference is 1."
    )
    for other in (near._replace(largest=2), near._replace(equal=979)):
        names, sentence = verdict([other])
        assert names == []
        assert sentence.startswith("LR was made by none of these. The nearest is A: 9")
    assert verdict([near, near._replace(name="C", equal=1000, largest=0)]) == (
        ["C"],
        "LR was made by C: all pixels are equal.",
    )
    assert (percent(1.0), percent(0.99999), percent(0.5)) == ("100 %", "99.99 %", "50.00 %")


def test_several_images_count_together():
    first = [Agreement("A", 100, 100, 0), Agreement("B", 100, 50, 3)]
    second = [Agreement("A", 300, 299, 2), Agreement("B", 300, 100, 1)]
    assert together([first, second]) == [Agreement("A", 400, 399, 2), Agreement("B", 400, 150, 3)]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_real_files(published_dir, scale):
    rdn = published_dir.parent / "golden" / "rdn"
    if not rdn.is_dir():
        pytest.skip(f"no files of RDN: {rdn} is not a folder")
    hr = published_dir / "Set5" / "HR"
    sr = rdn / "SR" / "BI" / "RDN" / "Set5" / f"x{scale}"

    def makers(lr):
        pairs = open_pairs(sr, hr, None, lr)
        assert pairs.scale == scale
        return verdict(together([compare(image.lr, image.hr, scale) for image, _ in pairs]))

    assert makers(published_dir / "Set5" / f"LRx{scale}")[0] == [MATLAB]
    of_rdn, sentence = makers(rdn / "LR" / "LRBI" / "Set5" / f"x{scale}")
    assert (of_rdn, sentence.endswith("all pixels are equal.")) == ([OLD_MATLAB], True)
    if scale == 3:  # blurred, then every third pixel
        names, sentence = makers(rdn / "LR" / "LRBD" / "Set5" / "x3")
        assert names == []
        assert sentence.startswith("LR was made by none of these. The nearest is ")
