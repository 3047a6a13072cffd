"""PyTorch files that are refused: of another kind, damaged, or with code in them."""

import argparse
import pickle
import warnings
import zipfile

import numpy as np
import pytest

from lnln_jax import load_model
from tests.support.torch_files import edsr_state, module, save


@pytest.fixture(scope="module")
def edsr():
    return edsr_state()


# ---- what is not a file of PyTorch, or a damaged one ----


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_truncated_file_is_named(zipped, edsr, tmp_path):
    content = save(tmp_path / "x.pt", edsr[1], zipped=zipped).read_bytes()
    path = tmp_path / "y.pt"
    for length in (1, 2, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(
            ValueError, match=r"y\.pt is (damaged or incomplete|not a PyTorch file)"
        ):
            load_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; download it again"),
        (b"<!DOCTYPE html>\n", "is not a PyTorch file; it begins with b'<!DOCTYPE html>"),
        (pickle.dumps({"a": 1}), r"is a pickle, but not one that torch\.save wrote; load it"),
        (b"PK\x03\x04 and so on", r"is damaged or incomplete \(.*\); download it again"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.pt {message}"):
        load_model(path)


def test_a_zip_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("photo/readme.txt", "no weights")
    with pytest.raises(ValueError, match=r"is a zip archive, but not one that torch\.save wrote"):
        load_model(tmp_path / "x.pt")


def test_a_torchscript_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"x/{name}", pickle.dumps({}, protocol=2))
    with pytest.raises(ValueError, match=r"x\.pt is a TorchScript archive, which holds a program"):
        load_model(tmp_path / "x.pt")


# ---- what would run code ----


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("tree", "name"),
    [
        (module(), "nets.Net"),
        ({"model": {}, "args": argparse.Namespace()}, "argparse.Namespace"),
        ({"state_dict": {}, "best": np.float64(3)}, r"numpy\.dtype"),
    ],
)
def test_more_than_tensors_is_refused(tree, name, zipped, tmp_path):
    path = save(tmp_path / "x.pt", tree, zipped=zipped)
    with pytest.raises(ValueError, match=rf"holds more than tensors \({name}\).*where you trust"):
        load_model(path)


class Payload:
    """What unpickling turns into a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "x")


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_file_cannot_run_code(kind, tmp_path):
    path, marker = tmp_path / "x.pt", tmp_path / "marker"
    tree = {"state_dict": {"head.0.weight": Payload(marker)}}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(tree, protocol=2))
    else:
        save(path, tree, zipped=kind == "zip")
    message = "is a pickle, but" if kind == "pickle" else "holds more than tensors"
    with pytest.raises(ValueError, match=message):
        load_model(path)
    assert not marker.exists()

    # The payload is a live one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        pickle.loads(pickle.dumps(tree, protocol=2))
    assert marker.exists()
