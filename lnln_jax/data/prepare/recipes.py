"""Datasets from folders and from DIV2K, for `lnln prepare`."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lnln_jax.data.image_sets import open_images
from lnln_jax.data.layout_folders import find_images_of
from lnln_jax.data.prepare.origins import Origin, every_nth, origins_of
from lnln_jax.data.prepare.sub_images import Cut
from lnln_jax.data.records import default_data_dir
from lnln_jax.runtime.extras import require
from lnln_jax.runtime.files import check_folder, free_space, printable
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.runtime.numbers import whole

Progress = Callable[[int, int], None]
ProgressOf = Callable[[str], Progress]
Find = Callable[[], Mapping[str, Sequence[Origin]]]

DIV2K_NAME = "div2k_sub"
DIV2K_URL = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
# Sizes and SHA-256 of the archives, as TFDS has them registered for its own div2k. To ask it for
# them takes a package that it does not install.
DIV2K_ARCHIVES = {
    "DIV2K_train_HR.zip": (
        3530603713,
        "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
    ),
    "DIV2K_valid_HR.zip": (
        448993893,
        "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
    ),
}
_DIV2K_TEXT = (
    "DIV2K: 1000 diverse images of 2K resolution; the 800 for training and the 100 for validation."
)
_DIV2K_HOMEPAGE = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_DIV2K_CITATION = """\
@InProceedings{Agustsson_2017_CVPR_Workshops,
  author = {Agustsson, Eirikur and Timofte, Radu},
  title = {{NTIRE} 2017 Challenge on Single Image Super-Resolution: Dataset and Study},
  booktitle = {The IEEE Conference on Computer Vision and Pattern Recognition (CVPR) Workshops},
  month = {July},
  year = {2017}
}"""
_DIV2K_LICENSE = (
    f"For academic research only; the copyright of the images is their owners' ({_DIV2K_HOMEPAGE})."
)


@dataclass(frozen=True)
class Prepared:
    """A dataset that has been built.

    Attributes:
      folder: folder of its files.
      examples: number of records of each split.
      size: bytes on the disk.
      seconds: time that it took; little if it was there already.
      left_out: images that could not be used, and why.
    """

    folder: Path
    examples: dict[str, int]
    size: int
    seconds: float
    left_out: dict[str, str]


def prepare_folder(
    folder: Path,
    name: str,
    *,
    cut: Cut,
    validation_every: int = 20,
    data_dir: Path | None = None,
    on_bad_image: Literal["skip", "stop"] = "skip",
    workers: int = 1,
    progress_of: ProgressOf = lambda what: lambda done, total: None,
    license: str = "",
    citation: str = "",
) -> Prepared:
    """Builds a dataset from a folder or .zip file of HR images, sub-folders included.

    Args:
      folder: folder or .zip file, in one of the layouts of `lnln_jax.data.layouts`. Images for
        training and for validation side by side, such as in `train/` and `validation/` or in
        `DIV2K_train_HR/` and `DIV2K_valid_HR/`, are the splits. LR images are not used.
      name: name of the dataset.
      cut: how images are cut.
      validation_every: otherwise every n-th image is for validation; 0 for none.
      data_dir: folder of TFDS datasets; None for `default_data_dir`.
      on_bad_image: "skip" leaves images out that can't be used; "stop" ends the build.
      workers: number of processes that build.
      progress_of: function that makes a progress bar for what is being done.
      license: license of the images, for the dataset's description.
      citation: BibTeX, likewise.

    Raises:
      ValueError: no such folder or no images; or as `SubImages` raises it.
      MissingExtraError: the packages that build datasets are not installed.
      OSError: not enough space, or the dataset can't be written.
    """
    _check_packages()
    from lnln_jax.data.prepare.builder import Description

    validation_every = whole("validation_every", validation_every, least=0)
    if validation_every == 1:
        raise ValueError(
            f"validation_every is {validation_every}; 0 holds no image out, 20 one of 20"
        )
    folder = _expanded(folder)
    found = _splits(folder, validation_every, cut)
    description = Description(
        text=f"The images of {printable(folder.resolve().name)}, for super-resolution.",
        license=license,
        citation=citation,
    )
    return _build(
        name,
        lambda: found,
        fixed=False,
        cut=cut,
        description=description,
        data_dir=_expanded(data_dir or default_data_dir()),
        on_bad_image=on_bad_image,
        workers=workers,
        progress_of=progress_of,
    )


def _splits(folder: Path, validation_every: int, cut: Cut) -> dict[str, list[Origin]]:
    scale = cut.scales[0] if len(cut.scales) == 1 else None
    with find_images_of(folder, scale, purpose="both", lr=None) as found:
        layout = found.layout
        origins = origins_of(found.images, layout.hr)
    if not layout.validation:
        train, validation = every_nth(origins, validation_every)
    else:
        train = [origin for origin in origins if origin.name not in layout.validation]
        validation = [origin for origin in origins if origin.name in layout.validation]
    return {"train": train, "validation": validation}


def prepare_div2k(
    *,
    cut: Cut,
    data_dir: Path | None = None,
    download_dir: Path | None = None,
    url: str = DIV2K_URL,
    archives: Mapping[str, tuple[int, str]] = DIV2K_ARCHIVES,
    on_bad_image: Literal["skip", "stop"] = "stop",
    workers: int = 1,
    progress_of: ProgressOf = lambda what: lambda done, total: None,
) -> Prepared:
    """Builds DIV2K (Agustsson and Timofte, CVPRW 2017): 800 training and 100 validation images.

    The archives are fetched into `download_dir`, going on where an earlier call was interrupted,
    and are not unpacked. Archives that are there already are used, if their checksums are right.

    Args:
      cut: how images are cut.
      data_dir: folder of TFDS datasets; None for `default_data_dir`.
      download_dir: folder of the archives; None for `downloads/manual` in `data_dir`, where TFDS
        looks for them.
      url: address of the folder with the archives, such as a mirror's.
      archives: names, sizes and SHA-256 of those for training and validation, in this order.
      on_bad_image: "stop" ends the build at an image that can't be used; "skip" leaves it out.
      workers: number of processes that build.
      progress_of: function that makes a progress bar for what is being done.

    Raises:
      DownloadError: an archive can't be fetched, or is not what it should be.
      ValueError: as `SubImages` raises it.
      MissingExtraError: the packages that build datasets are not installed.
      OSError: not enough space, or something can't be written.
    """
    _check_packages()
    from lnln_jax.data.prepare.builder import Description

    place = _expanded(data_dir or default_data_dir())
    downloads = _expanded(download_dir or place / "downloads" / "manual")

    def find() -> dict[str, list[Origin]]:
        check_folder(downloads, "--download-dir")
        downloads.mkdir(parents=True, exist_ok=True)
        _check_space(cut, archives, downloads, place)
        paths = _fetch(url, archives, downloads, place, progress_of)
        return dict(zip(("train", "validation"), map(_in_archive, paths), strict=True))

    return _build(
        DIV2K_NAME,
        find,
        fixed=True,
        cut=cut,
        description=Description(_DIV2K_TEXT, _DIV2K_HOMEPAGE, _DIV2K_CITATION, _DIV2K_LICENSE),
        data_dir=place,
        on_bad_image=on_bad_image,
        workers=workers,
        progress_of=progress_of,
    )


def _in_archive(path: Path) -> list[Origin]:
    with open_images(path) as images:
        return origins_of(images, images.names)


def _check_packages() -> None:
    for module in ("tensorflow_datasets", "array_record", "requests", "urllib3"):
        require(module, "prepare", "building a dataset")


def _expanded(path: Path) -> Path:
    return Path(local_path(os.fspath(path)))


def _check_space(
    cut: Cut, archives: Mapping[str, tuple[int, str]], downloads: Path, data_dir: Path
) -> None:
    """Checks, before gigabytes are fetched, that the dataset has room beside them."""
    # `download` looks after the archives themselves; on another disk they take no room from it.
    missing = sum(size for name, (size, _) in archives.items() if not (downloads / name).exists())
    if downloads.stat().st_dev != data_dir.stat().st_dev:
        missing = 0
    total = sum(size for size, _ in archives.values())
    overlap = (cut.size / cut.step) ** 2 * (1 + sum(1 / scale**2 for scale in cut.scales))
    needed, free = missing + total * overlap, free_space(data_dir)
    if needed > free:
        raise OSError(
            f"not enough space in {data_dir}: about {needed / 1e9:.1f} GB are needed, "
            f"{missing / 1e9:.1f} GB of them for archives, and {free / 1e9:.1f} GB are free; make "
            "room, or choose another data_dir"
        )


def _fetch(
    url: str,
    archives: Mapping[str, tuple[int, str]],
    folder: Path,
    data_dir: Path,
    progress_of: ProgressOf,
) -> list[Path]:
    """Puts archives where TFDS's download manager finds them, and has it check them."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums

    from lnln_jax.data.prepare.download import download

    infos = {}
    for name, (size, sha256) in archives.items():
        source = f"{url.rstrip('/')}/{name}"
        download(
            source,
            folder / name,
            size=size,
            sha256=sha256,
            progress=progress_of(f"fetching {name}"),
        )
        infos[source] = checksums.UrlInfo(tfds.core.utils.Size(size), sha256, name)
    manager = tfds.download.DownloadManager(
        download_dir=data_dir / "downloads",
        manual_dir=folder,
        url_infos=infos,
        dataset_name=DIV2K_NAME,
        force_checksums_validation=True,
    )
    tfds.disable_progress_bar()  # there have been ours
    return [Path(manager.download(source)) for source in infos]


def _build(
    name: str, find: Find, *, data_dir: Path, progress_of: ProgressOf, **options: Any
) -> Prepared:
    from lnln_jax.data.prepare.builder import SubImages

    check_folder(data_dir, "--data-dir")
    start = time.perf_counter()
    builder = SubImages(
        name, find, data_dir=data_dir, progress=progress_of(f"building {name}"), **options
    )
    builder.download_and_prepare()
    folder = Path(builder.data_dir)
    return Prepared(
        folder,
        {split: info.num_examples for split, info in builder.info.splits.items()},
        sum(path.stat().st_size for path in folder.iterdir()),
        time.perf_counter() - start,
        builder.left_out,
    )
