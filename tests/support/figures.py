"""Figures of two images."""

from pathlib import Path

from lnln_jax.evaluation.figures import Figure, Method
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize

DANGEROUS = (
    '<script>document.title = "x"</script>',
    "\"><img src=x onerror='alert(1)'>",
    "</title></style></script><h1>&amp; ${title} $nonce",
)
BOX = (170, 100, 40, 41)


def comic_and_butterfly(data_dir: Path) -> list[Figure]:
    """Two images of different sizes, each with LR, bicubic and a mirrored bicubic."""
    made = []
    for name, box in (("Set14/HR/comic.png", BOX), ("Set5/HR/butterfly.png", (0, 10, 42, 42))):
        hr = modcrop(read_rgb(data_dir / name), 2)
        lr = imresize(hr, 1 / 2)
        bicubic = imresize(lr, 2.0)
        methods = (
            Method("LR", lr.repeat(2, axis=0).repeat(2, axis=1), None, None),
            Method("bicubic", bicubic, 26.016, 0.8492),
            Method("mirrored", bicubic[:, ::-1].copy(), 9.5, 0.1),
        )
        made.append(Figure(name, hr, methods, box))
    return made


def renamed(figure: Figure, names) -> Figure:
    methods = (
        Method(n, m.image, m.psnr, m.ssim) for n, m in zip(names, figure.methods, strict=True)
    )
    return Figure(names[0], figure.hr, tuple(methods), figure.box)
