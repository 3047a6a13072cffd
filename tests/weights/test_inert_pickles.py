"""Pickles that want code to run, or attributes to change, in files that are read nevertheless."""

import argparse
import collections
import io
import os
import pickle
import pickletools
import sys

import pytest

from lnln_jax.weights import inert_pickles
from lnln_jax.weights.inert_pickles import Inert

torch = pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")


def unpickled(data):
    return inert_pickles.load(io.BytesIO(data), encoding="utf-8")


class Call:
    """An object that unpickling makes by calling a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "args"),
    [
        (os.system, ("touch {marker}",)),
        (eval, ("open('{marker}', 'w')",)),
        (exec, ("open('{marker}', 'w')",)),
        (open, ("{marker}", "w")),
        (os.mkdir, ("{marker}",)),
        (torch.storage._load_from_bytes, (b"...",)),
        (getattr, (collections.OrderedDict, "fromkeys")),
    ],
)
def test_no_function_is_called(function, args, protocol, tmp_path):
    marker = tmp_path / "marker"
    args = [arg.format(marker=marker) if isinstance(arg, str) else arg for arg in args]
    tree = unpickled(pickle.dumps([1, Call(function, *args)], protocol=protocol))
    assert tree[0] == 1
    assert isinstance(tree[1], Inert)
    assert not marker.exists()


def test_nothing_is_imported():
    before = set(sys.modules)
    tree = unpickled(b"\x80\x02cantigravity\nfly\n)R.")
    assert isinstance(tree, Inert)
    assert set(sys.modules) == before


class Strange(dict):
    """A dictionary of a class that is not imported."""


def test_objects_keep_their_state_and_lose_their_items():
    strange = Strange(a=1)
    strange.b = 2
    tree = unpickled(
        pickle.dumps([strange, argparse.Namespace(c=3), {4}, collections.Counter("a")])
    )
    assert [getattr(part, "state", part) for part in tree] == [{"b": 2}, {"c": 3}, {4}, None]


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02ccollections\nOrderedDict\n}(X\x01\x00\x00\x00aK\x01ub.",
        b"\x80\x02ccollections\nOrderedDict\nN}(X\x08\x00\x00\x00fromkeysK\x01u\x86b.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}(X\x01\x00\x00\x00aX\x01\x00\x00\x00xu\x86b.",
        b"\x80\x02cx\ny\nN}(X\x08\x00\x00\x00__name__X\x01\x00\x00\x00xu\x86b.",
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # a new object without a call
    ],
)
def test_what_stands_for_a_name_cannot_be_changed(data):
    pickletools.dis(data, out=io.StringIO())  # it is a pickle
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        unpickled(data)


def test_attributes_of_a_dictionary_are_lost():
    attributed = collections.OrderedDict(a=1)
    attributed.__wrapped__ = 3
    tree = unpickled(pickle.dumps(attributed))
    assert tree == {"a": 1}
    assert not hasattr(tree, "__wrapped__")


class PersistentPickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj if isinstance(obj, tuple) and obj[0] in ("module", "storage") else None


def test_only_storages_are_left_to_pytorch():
    """It would compare the source of a module, and can write what differs to a file."""
    file = io.BytesIO()
    PersistentPickler(file).dump([("module", "class", "x.py", "x = 1"), ("storage", "key")])
    file.seek(0)
    seen = []
    unpickler = inert_pickles.Unpickler(file)
    unpickler.persistent_load = lambda saved: seen.append(saved) or "array"
    assert unpickler.load() == ["class", "array"]
    assert seen == [("storage", "key")]
