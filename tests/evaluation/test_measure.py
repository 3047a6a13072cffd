"""The protocol of the published numbers; docs and README compare networks with what it prints."""

import math
import shutil
import time

import jax
import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluation.measure import (
    check_images,
    distinct_names,
    evaluate,
    published_bicubic,
)
from lnln_jax.evaluation.paper import published_scores
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.results import SRCNN_BICUBIC
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.metrics import psnr, ssim
from lnln_jax.images.resize import imresize
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize


@pytest.fixture(scope="module")
def two(data_dir, tmp_path_factory):
    """The smaller images of Set5, HR alone, in shapes of their own."""
    folder = tmp_path_factory.mktemp("benchmark") / "two"
    folder.mkdir()
    for name, size in {"bird": 64, "woman": 48}.items():
        with Image.open(data_dir / "Set5" / "HR" / f"{name}.png") as image:
            image.crop((100, 80, 164, 80 + size)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def network() -> NetworkUpscaler:
    module = create_model("lnln", n_resgroups=1, n_resblocks=1, n_feats=8, reduction=4)
    return NetworkUpscaler("tiny", 2, module, initialize(module, 0))


# ---- published numbers ----

# set, scale -> what the convention of SRCNN's code gives, and the modern one
BICUBIC = {
    ("Set5", 2): ((33.661, 0.9299), (33.673, 0.9303)),
    ("Set14", 2): ((30.232, 0.8687), (30.325, 0.8699)),
    ("B100", 2): ((29.558, 0.8431), (29.560, 0.8434)),
    ("Set5", 4): ((28.421, 0.8104), (28.429, 0.8111)),
    ("Set14", 4): ((26.000, 0.7019), (26.088, 0.7048)),
    ("B100", 4): ((25.961, 0.6674), (25.961, 0.6681)),
}


@pytest.mark.parametrize(
    ("name", "scale"),
    [pytest.param(*key, marks=[pytest.mark.slow] * (key[0] != "Set5")) for key in BICUBIC],
)
def test_bicubic_as_published_and_as_networks_are_measured(published_dir, name, scale):
    benchmark = open_benchmark(published_dir / name, scale)
    published = published_bicubic(benchmark)
    (modern,) = evaluate([BicubicUpscaler(scale)], benchmark)
    measured = [(round(r.psnr, 3), round(r.ssim, 4)) for r in (published, modern)]
    assert tuple(measured) == BICUBIC[name, scale]
    of_paper = published_scores("Bicubic", name, scale)
    assert of_paper is not None
    assert published.psnr == pytest.approx(of_paper[0], abs=0.01)
    assert published.ssim == pytest.approx(of_paper[1], abs=0.001)
    for result in (published, modern):
        assert [score.image for score in result.scores] == benchmark.names
        assert result.psnr == pytest.approx(np.mean([score.psnr for score in result.scores]))
        assert (result.benchmark, result.scale) == (name, scale)
    assert (published.model, published.network) == (SRCNN_BICUBIC, "Bicubic")
    assert (modern.model, modern.network) == ("bicubic", "")
    files = "made from HR by imresize (symmetric border)" if name == "B100" else f"LRx{scale}"
    assert modern.lr_origin.endswith(files)


# ---- several models ----


@pytest.mark.slow
def test_a_network_beside_bicubic(two, network):
    benchmark = open_benchmark(two, 2)
    seen, shown = [], []

    def progress(what):
        return lambda done, total: shown.append((what, done, total))

    bicubic, tiny = evaluate(
        [BicubicUpscaler(2), network],
        benchmark,
        done=lambda model, image, sr: seen.append((model, image, sr)),
        progress=progress,
    )
    order = [("bicubic", "bird"), ("bicubic", "woman"), ("tiny", "bird"), ("tiny", "woman")]
    assert [(model, image.name) for model, image, _ in seen] == order
    assert shown == [(f"two x2, {model}", i, 2) for model in ("bicubic", "tiny") for i in (1, 2)]
    for score, (_, image, sr), model in zip(
        (*bicubic.scores, *tiny.scores), seen, [BicubicUpscaler(2)] * 2 + [network] * 2, strict=True
    ):
        np.testing.assert_array_equal(sr, model.upscale(image.lr))
        assert score.psnr == pytest.approx(float(psnr(sr, image.hr, shave=2)), abs=1e-4)
        assert score.ssim == pytest.approx(float(ssim(sr, image.hr, shave=2)), abs=1e-6)
    assert tiny.network == "LNLN"
    assert tiny.options == {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4}
    assert bicubic.options == {}


def test_images_are_read_once_for_all_models(two, tmp_path, network):
    folder = shutil.copytree(two, tmp_path / "two")
    expected = evaluate([network, BicubicUpscaler(2)], open_benchmark(two, 2))
    results = evaluate(
        [network, BicubicUpscaler(2)],
        open_benchmark(folder, 2),
        done=lambda model, image, sr: (folder / f"{image.name}.png").unlink(missing_ok=True),
    )
    assert [result.psnr for result in results] == [result.psnr for result in expected]


def test_names_are_told_apart(two, network):
    seen = []
    results = evaluate(
        [network, BicubicUpscaler(2), network],
        open_benchmark(two, 2),
        done=lambda model, image, sr: seen.append(model),
    )
    assert [result.model for result in results] == ["tiny", "bicubic", "tiny#2"]
    assert seen[::2] == ["tiny", "bicubic", "tiny#2"]
    assert distinct_names(["a", "a#2", "a", "a", "b"]) == ["a", "a#2", "a#3", "a#4", "b"]


def test_self_ensemble(two, network):
    benchmark = open_benchmark(two, 2)
    enlarged = []
    (result,) = evaluate(
        [network],
        benchmark,
        self_ensemble=True,
        done=lambda model, image, sr: enlarged.append((image, sr)),
    )
    assert result.self_ensemble
    for image, sr in enlarged:
        np.testing.assert_array_equal(sr, network.upscale(image.lr, self_ensemble=True))
        assert not np.array_equal(sr, network.upscale(image.lr))


@pytest.mark.slow
def test_each_shape_is_compiled_once_and_apart(two):
    # A module of its own, so that nothing has compiled it before.
    module = create_model("lnln", n_resgroups=1, n_resblocks=2, n_feats=8, reduction=4)
    network = NetworkUpscaler("fresh", 2, module, initialize(module, 0))
    benchmark = open_benchmark(two, 2)
    (bicubic,) = evaluate([BicubicUpscaler(2)], benchmark)  # compiles the metrics

    compilations: list[float] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    (first,) = evaluate([network], benchmark)
    assert len(compilations) == 2  # one for each shape
    assert sum(compilations) < sum(score.compile_seconds for score in first.scores)
    (again,) = evaluate([network], benchmark)
    assert len(compilations) == 2

    assert all(score.seconds > 0 and score.metrics_seconds > 0 for score in first.scores)
    peaks = [network.compile(image.lr.shape) for image in benchmark]
    assert first.peak_memory_bytes == again.peak_memory_bytes == max(peaks) > min(peaks) > 0
    assert bicubic.peak_memory_bytes == 0
    assert bicubic.device_peak_memory_bytes is None
    stats = jax.local_devices()[0].memory_stats()  # None on CPUs
    assert first.device_peak_memory_bytes == (stats and stats["peak_bytes_in_use"])


def test_the_costs_of_the_first_run_are_not_those_of_an_image(two):
    calls: list[tuple[tuple[int, ...], float]] = []

    class Timed(BicubicUpscaler):
        def upscale(self, *arguments, **options):
            start = time.perf_counter()
            sr = super().upscale(*arguments, **options)
            calls.append((sr.shape, time.perf_counter() - start))
            return sr

    (result,) = evaluate([Timed(2)], open_benchmark(two, 2))
    assert [shape for shape, _ in calls] == [(64, 64, 3), (64, 64, 3), (48, 64, 3)]
    first, second = result.scores
    assert first.compile_seconds > calls[0][1]  # of which it is a part
    assert first.seconds > calls[1][1]
    assert second.seconds > calls[2][1]


# ---- protocols ----


@pytest.mark.slow
def test_protocol_switches(two, network):
    benchmark = open_benchmark(two, 2)
    image = benchmark.image("bird")

    def score_of(**switches):
        (result,) = evaluate([network], benchmark, protocol=Protocol(**switches))
        assert result.protocol == Protocol(**switches).at(2)
        return result.scores[0]

    sr = network.upscale(image.lr)
    for switches, image_sr, options in (
        ({}, sr, {"shave": 2}),
        ({"shave": 0}, sr, {"shave": 0}),
        ({"shave": 7}, sr, {"shave": 7}),
        ({"channel": "rgb"}, sr, {"shave": 2, "y_channel": False}),
        (
            {"rounding": False},
            network.upscale_float(image.lr.astype(np.float32)),
            {"shave": 2},
        ),
        (
            {"border": "replicate"},
            network.upscale(imresize(image.hr, 1 / 2, border="replicate")),
            {"shave": 2},
        ),
    ):
        score = score_of(**switches)
        assert score.psnr == pytest.approx(float(psnr(image_sr, image.hr, **options)), abs=1e-4)
        assert score.ssim == pytest.approx(float(ssim(image_sr, image.hr, **options)), abs=1e-6)


def test_rgb_costs_what_is_known(published_dir):
    benchmark = open_benchmark(published_dir / "Set5", 2)
    luma, rgb = (
        evaluate([BicubicUpscaler(2)], benchmark, protocol=Protocol(channel))[0].psnr
        for channel in ("y", "rgb")
    )
    assert rgb - luma == pytest.approx(-1.9, abs=0.05)


def test_the_published_protocol():
    assert Protocol() == Protocol("y", None, True, "symmetric")
    assert Protocol().is_published(2)
    assert Protocol(shave=2).is_published(2)
    for other in (
        Protocol(shave=2),
        Protocol(channel="rgb"),
        Protocol(rounding=False),
        Protocol(border="replicate"),
    ):
        assert not other.is_published(4)
    assert Protocol().describe(4) == "PSNR (dB) / SSIM on Y, shaved 4, of rounded results"
    assert Protocol("rgb", 0, False).describe(4) == (
        "PSNR (dB) / SSIM on RGB, shaved 0, of unrounded results"
    )


@pytest.mark.parametrize(
    ("field", "value"), [("channel", "Y"), ("shave", -1), ("shave", 1.5), ("border", "zero")]
)
def test_protocols_that_there_are_not(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value!r}; it must be "):
        Protocol(**{field: value})


# ---- what is wrong ----


def test_models_must_fit(two):
    with pytest.raises(ValueError, match="bicubic upscales x4, but the benchmark is x2; open it"):
        evaluate([BicubicUpscaler(4)], open_benchmark(two, 2))


def test_a_picture_too_small_to_measure_is_refused(tmp_path):
    Image.new("RGB", (30, 14)).save(tmp_path / "x.png")
    for measure in (published_bicubic, lambda benchmark: evaluate([BicubicUpscaler(2)], benchmark)):
        with pytest.raises(ValueError, match=r"x: shave .* for 14x30; use .* a larger image"):
            measure(open_benchmark(tmp_path, 2))
    check_images(open_benchmark(tmp_path, 2), Protocol(shave=1))
    with pytest.raises(ValueError, match=r"x: shave .* got shave 2 for 14x30"):
        check_images(open_benchmark(tmp_path, 2), Protocol(shave=2, rounding=False))


def test_a_flat_picture_is_perfect(tmp_path):
    Image.new("RGB", (30, 20), (9, 90, 200)).save(tmp_path / "x.png")
    for result in (
        published_bicubic(open_benchmark(tmp_path, 2)),
        evaluate([BicubicUpscaler(2)], open_benchmark(tmp_path, 2))[0],
    ):
        assert result.psnr == math.inf
        assert result.ssim == 1


def test_a_network_of_nan_names_the_image(two, network):
    damaged = jax.tree.map(lambda x: np.full(x.shape, np.nan, x.dtype), network.variables)
    broken = NetworkUpscaler("broken", 2, network.module, damaged)
    with pytest.raises(ValueError, match="bird: the network of broken returned NaN"):
        evaluate([broken], open_benchmark(two, 2))
