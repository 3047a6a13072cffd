"""Pickles that want code to run, attributes to change, or memory, and are read nevertheless."""

import argparse
import collections
import contextlib
import io
import os
import pickle
import pickletools
import sys
import time
import tracemalloc

import pytest

from lnln_jax.weights.inert_pickles import BYTES, FLOAT, Inert
from lnln_jax.weights.memory_budget import Budget
from lnln_jax.weights.pickle_machine import Unpickler


def unpickler_of(data, budget=2**20, persistent=None):
    return Unpickler(memoryview(data), Budget(budget), calls={}, persistent=persistent)


def unpickled(data, budget=2**20):
    return unpickler_of(data, budget).load()


class Call:
    """An object that unpickling makes by calling a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


# ---- what is read ----


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_of_every_protocol(protocol):
    shared = ["x"]
    tree = {
        "texts": ["", "a", "\u00e9\u20ac", "long" * 100],
        "numbers": [0, 1, 255, 256, 65536, -1, -(2**31), 2**31, 2**62, True, False, None],
        "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {"a": {}}),
        "shared": (shared, shared),
        "ordered": collections.OrderedDict(a=1, b=2),
    }
    read = unpickled(pickle.dumps({**tree, 3: "lost"}, protocol=protocol))
    if protocol == 0:
        read["texts"][2] = tree["texts"][2]  # keeps its escapes
    assert read == tree
    assert read["shared"][0] is read["shared"][1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_other_values_only_the_kind_is_kept(protocol):
    tree = unpickled(pickle.dumps([1.5, {(1, 2): 3, "a": 4}, {5}, frozenset([6])], protocol))
    assert tree[:2] == [FLOAT, {"a": 4}]
    assert all(isinstance(part, Inert) for part in tree[2:])
    if protocol > 2:
        assert unpickled(pickle.dumps([b"a", b"b" * 300], protocol)) == [BYTES, BYTES]


def test_several_pickles_follow_each_other():
    unpickler = unpickler_of(pickle.dumps([1], 2) + pickle.dumps("a", 4) + b"rest")
    assert [unpickler.load(), unpickler.load()] == [[1], "a"]
    assert unpickler.position == len(pickle.dumps([1], 2) + pickle.dumps("a", 4))


def test_pickles_of_python_2():
    """Texts were bytes, and an OrderedDict came as a list of pairs."""
    pairs = b"](](U\x01aK\x01e](U\x01bT\x01\x00\x00\x00cee"
    assert unpickled(b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R.") == {
        "a": 1,
        "b": "c",
    }


class Strange(dict):
    """A dictionary of a class that is not imported."""


def test_objects_keep_their_state_and_lose_their_items():
    strange = Strange(a=1)
    strange.b = 2
    tree = unpickled(pickle.dumps([strange, argparse.Namespace(c=3), collections.Counter("a")]))
    assert [part.state for part in tree] == [{"b": 2}, {"c": 3}, None]


def test_attributes_of_a_dictionary_are_lost():
    attributed = collections.OrderedDict(a=1)
    attributed.__wrapped__ = 3
    tree = unpickled(pickle.dumps(attributed))
    assert tree == {"a": 1}
    assert not hasattr(tree, "__wrapped__")


# ---- code ----


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "args"),
    [
        (os.system, ("touch {marker}",)),
        (eval, ("open('{marker}', 'w')",)),
        (exec, ("open('{marker}', 'w')",)),
        (open, ("{marker}", "w")),
        (os.mkdir, ("{marker}",)),
        (getattr, (collections.OrderedDict, "fromkeys")),
    ],
)
def test_no_function_is_called(function, args, protocol, tmp_path):
    marker = tmp_path / "marker"
    args = [arg.format(marker=marker) if isinstance(arg, str) else arg for arg in args]
    data = pickle.dumps([1, Call(function, *args)], protocol=protocol)
    unpickler = unpickler_of(data)
    tree = unpickler.load()
    assert tree[0] == 1
    assert isinstance(tree[1], Inert)
    assert unpickler.first_unknown == tree[1].name
    assert tree[1].name.endswith(f".{function.__name__}")
    assert not marker.exists()


def test_nothing_is_imported():
    before = set(sys.modules)
    for data in (
        b"\x80\x02cantigravity\nfly\n)R.",
        b"(iantigravity\nfly\n.",
        b"(cantigravity\nfly\no.",
    ):
        tree = unpickled(data)
        assert isinstance(tree, Inert)
        assert tree.name == "antigravity.fly"
    assert set(sys.modules) == before


def test_floats_and_bytes_carry_no_state_into_other_files():
    """All files share what stands for them."""
    for made in (b"G" + bytes(8), b"C\x01a"):
        with pytest.raises(ValueError, match="TypeError"):
            unpickled(b"\x80\x03" + made + b"}X\x01\x00\x00\x00aK\x01sb.")
    assert not hasattr(FLOAT, "state")
    assert not hasattr(BYTES, "state")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cx\ny\nN}(X\x08\x00\x00\x00__name__X\x01\x00\x00\x00xu\x86b.",
        b"\x80\x02ccollections\nOrderedDict\n}(X\x01\x00\x00\x00aK\x01ub.",
        b"\x80\x02]}X\x01\x00\x00\x00aK\x01sR.",  # arguments that are not a tuple
        b"\x80\x02])R.",  # a call of a list
        b"\x80\x02)K\x01a.",  # an item of a tuple
        b"\x80\x02]K\x01K\x02s.",
    ],
)
def test_only_lists_and_dictionaries_change(data):
    pickletools.dis(data, out=io.StringIO())  # it is a pickle
    with pytest.raises(ValueError, match=r"its pickle fails at byte \d+: TypeError"):
        unpickled(data)


def test_persistent_ids_are_left_to_the_reader():
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return obj if isinstance(obj, tuple) else None

    file = io.BytesIO()
    Pickler(file).dump([("storage", 3), "a"])
    seen = []
    unpickler = unpickler_of(file.getvalue(), persistent=lambda i: seen.append(i) or "array")
    assert unpickler.load() == ["array", "a"]
    assert seen == [("storage", 3)]


# ---- memory and depth ----


@pytest.mark.parametrize(
    "data",
    [
        b"]" * 10**5 + b".",
        b"N" * 10**5 + b".",
        b"(" * 10**5 + b".",
        b"(" + b"N" * 10**5 + b"t.",
        b"X\xff\xff\x00\x00" + b"a" * 0xFFFF + b"q\x00" + b"h\x00" * 10**5 + b".",
        b"".join(b"Nr" + i.to_bytes(4, "little") for i in range(10**5)) + b".",
        b"((" + b"K\x01" * 500 + b"tq\x00" + b"h\x00\x85" * 10**5 + b".",
        b"]q\x00" + b"h\x00h\x00a" * 10**5 + b".",
        (b"V" + "\U0001f600".encode() + b"a" * 900 + b"\n") * 100 + b".",
        b"K\x01q\x00" + b"h\x00Q" * 3000 + b".",  # persistent ids
        b"\x8b\xa0\x86\x01\x00" + b"\x01" * 10**5 + b".",
        b"X\xa0\x86\x01\x00" + "\U0001f600".encode() + b"a" * 10**5 + b".",
    ],
)
def test_memory_is_held_to_the_budget(data):
    unpickler = unpickler_of(data, 10**5, persistent=lambda _: Inert("array"))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="far more memory"):
            unpickler.load()
        assert tracemalloc.get_traced_memory()[1] < 3 * 10**5
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"Nr\xff\xff\xff\x7f.",  # an index of the memo
        b"X\xff\xff\xff\x7fa.",
        b"\x8d" + b"\xff" * 7 + b"\x7fa.",
        b"\x96" + b"\xff" * 7 + b"\x7fa.",
        b"\x8b\xff\xff\xff\x7fa.",
        b"\x8b\xff\xff\xff\xffa.",
        b"T\xff\xff\xff\xffa.",
        b"I" + b"1" * 10**5 + b"\n.",
    ],
)
def test_sizes_are_not_believed(data):
    tracemalloc.start()
    try:
        with contextlib.suppress(ValueError):
            unpickled(b"\x80\x02" + data)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_depth_is_no_danger():
    for data in (b")" + b"\x85" * 50_000, b"]" * 50_000 + b"a" * 49_999):
        assert unpickled(b"\x80\x02" + data + b".", 2**25)
    deep = b")" + b"\x85" * 50_000  # as the key of a dictionary it would be hashed
    assert unpickled(b"\x80\x02}" + deep + b"K\x01s.", 2**25) == {}


@pytest.mark.parametrize("step", [b"\x8a\x0a%bNs", b"Np%d\n0"], ids=["dictionary", "memo"])
def test_numbers_of_one_hash_take_no_time(step):
    """As keys they would all be compared with each other."""
    numbers = [(2**61 - 1) * i for i in range(30_000)]
    steps = [step % (i.to_bytes(10, "little") if b"%b" in step else i) for i in numbers]
    start = time.perf_counter()
    with contextlib.suppress(ValueError):
        unpickled(b"\x80\x02}" + b"".join(steps) + b".", 2**25)
    assert time.perf_counter() - start < 5


def test_a_list_that_is_copied_again_and_again_takes_no_time():
    pairs = b"]q\x01(K\x01K\x01\x86q\x02" + b"h\x02" * 50_000 + b"e0"
    copies = b"h\x00h\x01\x85R0" * 2000
    start = time.perf_counter()
    with pytest.raises(ValueError, match="far more memory"):
        unpickled(b"\x80\x02ccollections\nOrderedDict\nq\x00" + pairs + copies + b".", 2**24)
    assert time.perf_counter() - start < 5


def test_the_steps_of_all_pickles_are_counted_together():
    unpickler = unpickler_of((b"N0" * 800_000 + b"N.") * 2, 2**25)
    assert unpickler.load() is None
    with pytest.raises(ValueError, match="more than 3000000 steps"):
        unpickler.load()
