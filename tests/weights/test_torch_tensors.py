"""What a file says of its arrays: places in storages, of which nothing is believed."""

import tracemalloc

import numpy as np
import pytest

from lnln_jax.weights.inert_pickles import Inert, Name
from lnln_jax.weights.torch_tensors import CALLS, DTYPES, Storage, Tensor, load_storage

NUMBERS = np.arange(20, dtype=np.float32)


class Source:
    """Storages in memory."""

    def __init__(self, big_endian=False, **contents):
        self.big_endian = big_endian
        self.contents = {key: memoryview(array.tobytes()) for key, array in contents.items()}

    def content(self, key):
        return self.contents[key]


SOURCE = Source(a=NUMBERS)
STORAGE = Storage(SOURCE, "a", DTYPES["float32"], 20)


def saved(*, of="torch.FloatStorage", key="a", count=20, part=()):
    return ("storage", Name(of), key, "cpu", count, *part)


# ---- storages ----


@pytest.mark.parametrize(
    ("of", "dtype"),
    [
        ("torch.FloatStorage", "float32"),
        ("torch.cuda.HalfStorage", "float16"),
        ("torch.storage.UntypedStorage", "uint8"),
        ("torch.BFloat16Storage", "bfloat16"),
    ],
)
def test_storages_are_known_by_their_classes(of, dtype):
    assert load_storage(SOURCE, saved(of=of)).dtype.name == dtype


def test_an_old_storage_may_be_a_part_of_another():
    part = load_storage(SOURCE, saved(part=(("view", 5, 10),)))
    assert (part.start, part.numel) == (5, 10)
    np.testing.assert_array_equal(Tensor(part, 2, (3,), (1,)).array(), NUMBERS[7:10])
    with pytest.raises(ValueError, match="ends at number 11 of 10"):
        Tensor(part, 2, (9,), (1,))
    with pytest.raises(ValueError, match="lies outside of it"):
        load_storage(SOURCE, saved(part=(("view", 11, 10),)))
    assert load_storage(SOURCE, saved(part=(None,))) == STORAGE


def test_other_persistent_ids():
    name = Name("nets.Net")
    assert load_storage(SOURCE, ("module", name, "nets.py", "class Net: ...")) is name
    for other in (("device", name), ("storage", "no name", "a", "cpu", 3), saved(of="torch.QInt8")):
        assert isinstance(load_storage(SOURCE, other), Inert)


@pytest.mark.parametrize(
    "wrong",
    [
        *("a", 3, (), ("storage",), saved(key=3), saved(count=-1), saved(count=1.0)),
        *(saved(count=True), saved(count=2**62), saved()[:4], saved(part=(None, None))),
        *(saved(part=(("view", 1),)), saved(part=(("view", -1, 3),)), saved(part=(3,))),
    ],
)
def test_persistent_ids_without_sense(wrong):
    with pytest.raises(ValueError, match=r"a persistent id|a storage|a part of a storage"):
        load_storage(SOURCE, wrong)


# ---- arrays ----


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (20,), (1,)),
        (0, (4, 5), (5, 1)),
        (3, (2, 3, 2), (1, 4, 2)),  # axes in another order, and overlapping
        (19, (7, 1), (0, 50)),  # the stride of a single element is not used
        (19, (), ()),
        (99, (0, 3), (3, 1)),
    ],
)
def test_arrays_lie_as_they_are_told(offset, shape, strides):
    read = Tensor(STORAGE, offset, shape, strides).array()
    expected = np.zeros(shape, np.float32)
    for index in np.ndindex(shape):
        expected[index] = offset + sum(i * stride for i, stride in zip(index, strides, strict=True))
    np.testing.assert_array_equal(read, expected, strict=True)


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "message"),
    [
        (0, (21,), (1,), "ends at number 21 of 20"),
        (1, (4, 5), (5, 1), "ends at number 21 of 20"),
        (20, (), (), "ends at number 21 of 20"),
        (0, (2,), (20,), "ends at number 21 of 20"),
        (0, (2**40, 2**40), (0, 1), "ends at number"),
        (0, (2**61, 2**61), (2**61, 2**61), "ends at number"),
        (-1, (3,), (1,), "not whole numbers"),
        (0, (-3,), (1,), "not whole numbers"),
        (0, (3,), (-1,), "not whole numbers"),
        (0, (2**62,), (1,), "not whole numbers"),
        (0, (True,), (1,), "not whole numbers"),
        ("0", (3,), (1,), "not whole numbers"),
        (0, (None,), (1,), "not whole numbers"),
        (0, (3,), (1, 1), "has 1 axes and 2 strides"),
        (0, (1,) * 33, (1,) * 33, "has 33 axes"),
    ],
)
def test_arrays_outside_of_their_storage(offset, shape, strides, message):
    with pytest.raises(ValueError, match=message):
        Tensor(STORAGE, offset, shape, strides)


def test_a_storage_may_be_smaller_than_it_should():
    tensor = Tensor(STORAGE._replace(numel=21), 0, (2,), (1,))
    with pytest.raises(ValueError, match="storage a has fewer numbers"):
        tensor.array()


@pytest.mark.parametrize("dtype", ["float64", "complex64", "complex128", "int16", "bfloat16"])
def test_the_other_byte_order(dtype):
    numbers = np.arange(12).astype(DTYPES[dtype])
    width = numbers.itemsize // (2 if numbers.dtype.kind == "c" else 1)
    source = Source(True, a=numbers.view(f"u{width}").byteswap(), b=numbers.view(f"u{width}"))
    tensor = Tensor(Storage(source, "a", numbers.dtype, 12), 2, (2, 3), (3, 1))
    np.testing.assert_array_equal(tensor.array(), numbers[2:8].reshape(2, 3), strict=True)


def test_of_the_other_byte_order_only_the_array_itself_is_copied():
    source = Source(True, a=np.zeros(10**6, np.uint8))
    storage = Storage(source, "a", DTYPES["float32"], 250_000)
    tracemalloc.start()
    try:
        arrays = [Tensor(storage, i, (2,), (100,)).array() for i in range(50)]
        assert tracemalloc.get_traced_memory()[1] < 10**5
    finally:
        tracemalloc.stop()
    assert len(arrays) == 50


# ---- calls ----

REBUILD = "torch._utils._rebuild_tensor"


def test_functions_that_rebuild():
    args = (STORAGE, 0, (3,), (1,))
    v2, v3 = (*args, False, {}), (STORAGE, 0, (3,), (1,), False, {}, Name("torch.uint16"))
    made = [
        CALLS[REBUILD](*args),
        CALLS[f"{REBUILD}_v2"](*v2),
        CALLS[f"{REBUILD}_v2"](*v2, {}),
        CALLS["torch._utils._rebuild_parameter"](CALLS[REBUILD](*args), True, {}),
        CALLS["torch.nn.parameter.Parameter"](CALLS[REBUILD](*args)),
        CALLS["torch._tensor._rebuild_from_type_v2"](
            Name(f"{REBUILD}_v2"), Name("torch.nn.Buffer"), v2, {}
        ),
    ]
    for tensor in made:
        np.testing.assert_array_equal(tensor.array(), NUMBERS[:3], strict=True)
    narrow = CALLS[f"{REBUILD}_v3"](*v3).array()
    np.testing.assert_array_equal(narrow, NUMBERS.view(np.uint16)[:3], strict=True)
    assert CALLS["torch.Size"]((3, 4)) == (3, 4)


def test_what_cannot_be_rebuilt_is_inert():
    inert = Inert("torch.QInt8Storage")
    v3 = (STORAGE, 0, (3,), (1,), False, {})
    for made in (
        CALLS[f"{REBUILD}_v2"](STORAGE, 0, (3,), (1,), False, {}, {"neg": True}),
        CALLS[REBUILD](inert, 0, (3,), (1,)),
        CALLS["torch._utils._rebuild_parameter"](inert, True, {}),
        CALLS["torch.nn.parameter.Parameter"](),
        CALLS[f"{REBUILD}_v3"](*v3, Name("torch.float4_e2m1fn_x2")),
        CALLS[f"{REBUILD}_v3"](*v3, "torch.float32"),
        CALLS["torch._tensor._rebuild_from_type_v2"](Name("os.system"), None, ("ls",), None),
        CALLS["torch._tensor._rebuild_from_type_v2"](
            Name("torch._tensor._rebuild_from_type_v2"), None, (), None
        ),
    ):
        assert isinstance(made, Inert)


@pytest.mark.parametrize(
    "args",
    [("storage", 0, (3,), (1,)), (STORAGE, 0, 3, 1), (STORAGE, 0, {}, {}), (STORAGE, 0, "3", "1")],
)
def test_arguments_without_sense(args):
    with pytest.raises(ValueError, match=r"an array without|a shape with"):
        CALLS[REBUILD](*args)
