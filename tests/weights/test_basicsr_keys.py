"""EDSR and RCAN under BasicSR's names: the same keys, and the same numbers as its networks give."""

import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.weights.convert import convert
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import assert_same

torch = pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")

N, SQUEEZED, GROUPS, BLOCKS = 8, 2, 3, 2
OPTIONS = {
    "edsr": {"n_resblocks": BLOCKS, "n_feats": N, "res_scale": 0.5},
    "rcan": {"n_resgroups": GROUPS, "n_resblocks": BLOCKS, "n_feats": N, "reduction": 4},
}


def shapes_of(name, scale):
    """The keys of BasicSR's network with the shapes of their weights."""
    shapes = {"conv_first": (N, 3, 3, 3)}
    for i in range(GROUPS if name == "rcan" else BLOCKS):
        if name == "edsr":
            shapes |= {f"body.{i}.conv1": (N, N, 3, 3), f"body.{i}.conv2": (N, N, 3, 3)}
            continue
        for j in range(BLOCKS):
            block = f"body.{i}.residual_group.{j}.rcab"
            shapes |= {f"{block}.0": (N, N, 3, 3), f"{block}.2": (N, N, 3, 3)}
            shapes |= {f"{block}.3.attention.1": (SQUEEZED, N, 1, 1)}
            shapes |= {f"{block}.3.attention.3": (N, SQUEEZED, 1, 1)}
        shapes[f"body.{i}.conv"] = (N, N, 3, 3)
    shapes["conv_after_body"] = (N, N, 3, 3)
    for i in {2: (0,), 3: (0,), 4: (0, 2), 8: (0, 2, 4)}[scale]:
        shapes[f"upsample.{i}"] = ((9 if scale == 3 else 4) * N, N, 3, 3)
    return shapes | {"conv_last": (3, N, 3, 3)}


def state_dict_of(name, scale):
    rng = np.random.default_rng(0)
    state_dict = {}
    for key, shape in shapes_of(name, scale).items():
        weight = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        state_dict[f"{key}.weight"] = torch.tensor(weight, dtype=torch.float32)
        state_dict[f"{key}.bias"] = torch.tensor(rng.normal(size=shape[:1]), dtype=torch.float32)
    return state_dict


def compute(name, state_dict, x, res_scale):
    """What BasicSR's network makes of images in 0..1: `B C H W`."""

    def conv(key, x):
        weight = state_dict[f"{key}.weight"]
        padding = weight.shape[-1] // 2
        return torch.nn.functional.conv2d(x, weight, state_dict[f"{key}.bias"], padding=padding)

    def block(i, x):
        return x + res_scale * conv(f"body.{i}.conv2", conv(f"body.{i}.conv1", x).relu())

    def attended(key, x):
        y = conv(f"{key}.2", conv(f"{key}.0", x).relu())
        means = y.mean((2, 3), keepdim=True)
        squeezed = conv(f"{key}.3.attention.1", means).relu()
        return x + y * conv(f"{key}.3.attention.3", squeezed).sigmoid()

    def group(i, x):
        y = x
        for j in range(BLOCKS):
            y = attended(f"body.{i}.residual_group.{j}.rcab", y)
        return x + conv(f"body.{i}.conv", y)

    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    head = body = conv("conv_first", (x - mean) * 255)
    for i in range(GROUPS if name == "rcan" else BLOCKS):
        body = group(i, body) if name == "rcan" else block(i, body)
    features = conv("conv_after_body", body) + head
    for i in (0, 2, 4):
        if f"upsample.{i}.weight" in state_dict:
            features = conv(f"upsample.{i}", features)
            factor = round((features.shape[1] / N) ** 0.5)
            features = torch.nn.functional.pixel_shuffle(features, factor)
    return conv("conv_last", features) / 255 + mean


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("name", OPTIONS)
def test_it_computes_what_basicsr_computes(name, scale, tmp_path):
    state_dict = state_dict_of(name, scale)
    torch.save({"params": state_dict}, tmp_path / "x.pth")
    hint = {"res_scale": 0.5} if name == "edsr" else {}
    model = load_model(tmp_path / "x.pth", **hint)
    assert model.scale == scale

    lr = np.random.default_rng(1).uniform(0, 255, (9, 7, 3)).astype(np.float32)
    x = torch.from_numpy(lr.transpose(2, 0, 1)[None] / 255)
    expected = 255 * compute(name, state_dict, x, res_scale=0.5)[0].numpy().transpose(1, 2, 0)
    assert np.ptp(expected) > 50  # it is not the mean alone
    np.testing.assert_allclose(model.upscale_float(lr), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", OPTIONS)
def test_hyper_parameters_show_and_convert_writes_the_authors_names(name, tmp_path):
    torch.save(state_dict_of(name, 4), tmp_path / "x.pth")
    hint = {"res_scale": 0.5} if name == "edsr" else {}
    weights = load_weights(tmp_path / "x.pth", **hint)
    assert (weights.model.name, weights.model.scale) == (name, 4)
    assert weights.model.options == OPTIONS[name]

    convert(tmp_path / "x.pth", tmp_path / "y.pt", **hint)
    written = torch.load(tmp_path / "y.pt", weights_only=True)
    assert written.keys() == to_torch(weights.variables, name=name).keys()
    assert_same(load_weights(tmp_path / "y.pt", **hint).variables, weights.variables)


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("edsr", "body.0.conv2.bias", "body.2.conv3.bias"),
        ("edsr", "conv_last.weight", "conv_hr.weight"),
        ("rcan", "body.1.residual_group.0.rcab.2.bias", "body.0.residual_group.0.rcab.4.bias"),
        ("rcan", "conv_after_body.weight", "head.0.weight"),
    ],
)
def test_what_does_not_fit_is_listed_by_its_names(name, missing, extra, tmp_path):
    state_dict = state_dict_of(name, 2)
    del state_dict[missing]
    state_dict[extra] = torch.zeros(3)
    torch.save(state_dict, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth, taken for {name} x2 ") as error:
        load_weights(tmp_path / "x.pth")
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert lines == [f"missing {missing}", f"unexpected {extra}"]
