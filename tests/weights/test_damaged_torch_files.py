"""Thousands of damaged PyTorch files: each is one line, little memory, and no time."""

import functools
import io
import pickletools
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from lnln_jax.weights.torch_files import read_state_dict, write_state_dict
from tests.support.checkout import ROOT
from tests.support.torch_files import Made, edsr_state, module, save

ALLOWANCE = 2**21  # bytes besides twice the file; a few thousand objects take as much
SECONDS = 5


def make_sources(folder):
    """Files of several kinds, with the same small network in each, by name."""
    arrays = {key: value for key, value in edsr_state()[1].items() if "body.0.body" in key}
    narrow = {key: value.astype(ml_dtypes.bfloat16) for key, value in arrays.items()}
    optimizer = {"state": {0: {"exp_avg": np.ones(3, "f4")}}, "param_groups": [{"lr": 1e-4}]}
    wrapped = {
        "params_ema": {f"module.{key}": value for key, value in arrays.items()},
        "optimizer": optimizer,
        "args": Made("argparse", "Namespace", state={"lr": 0.1, "names": ["a", "b"]}),
    }
    whole = {"model": module(body=module(**{"0": module(body=module(**_nested(arrays)))}))}
    files = {}
    for zipped in (True, False):
        kind = "zip" if zipped else "legacy"
        for name, tree in (("plain", arrays), ("bfloat16", narrow), ("wrapped", wrapped)):
            files[f"{kind} {name}"] = save(folder / f"{kind}_{name}.pt", tree, zipped=zipped)
        files[f"{kind} module"] = save(folder / f"{kind}_module.pt", whole, zipped=zipped)
    write_state_dict(folder / "ours.pt", arrays)
    contents = {name: path.read_bytes() for name, path in files.items()}
    contents["ours"] = (folder / "ours.pt").read_bytes()
    contents["deflated"] = packed_again(contents["zip plain"], zipfile.ZIP_DEFLATED)
    return contents


def _nested(arrays):
    prefix = "body.0.body."
    parts = {}
    for key, value in arrays.items():
        if key.startswith(prefix):
            index, _, name = key[len(prefix) :].partition(".")
            parts.setdefault(index, {})[name] = value
    return {index: module(**of) for index, of in parts.items()}


def packed_again(content, compression=zipfile.ZIP_STORED, change=lambda name, data: data):
    """The same archive with other entries, whose checksums are right."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(file, "w", compression) as new,
    ):
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return file.getvalue()


# ---- damage ----


def flip(rng, data, start=0):
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(start, len(data))] ^= 1 << rng.integers(8)
    return bytes(changed)


def truncate(rng, data):
    return data[: rng.integers(1, len(data))]


def swap(rng, data):
    a, b, c, d = sorted(rng.integers(0, len(data), 4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def overwrite(rng, data, start=0):
    """Puts a number that may be a size, or noise."""
    numbers = [0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]
    new = struct.pack("<Q", numbers[rng.integers(len(numbers))])[: rng.choice([2, 4, 8])]
    if rng.integers(2):
        new = rng.bytes(rng.integers(1, 40))
    at = rng.integers(start, len(data))
    return data[:at] + new + data[at + len(new) :]


def cut_or_repeat(rng, data):
    a, b = sorted(rng.integers(0, len(data), 2))
    b = min(b, a + 200)
    return data[:a] + data[b:] if rng.integers(2) else data[:b] + data[a:]


OPCODES = (
    b"(.012FGIJKLMNPQRSTUVXabcdeghijlopqrstu)]}\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e"
)
OPCODES += b"\x8f\x90\x91\x92\x93\x94\x95\x96"


def craft(rng, data):
    """Puts opcodes into a pickle, some with a large argument."""
    for _ in range(rng.integers(1, 4)):
        at = rng.integers(0, len(data))
        new = bytes(rng.choice(list(OPCODES), rng.integers(1, 6)).astype(np.uint8))
        if rng.integers(2):
            new += b"\xff\xff\xff\x7f"
        data = data[:at] + new + data[at + rng.integers(0, 3) :]
    return data


@functools.cache
def end_of_pickles(content):
    """Where the storages of an older file begin, behind five pickles."""
    file = io.BytesIO(content)
    for _ in range(5):
        for _ in pickletools.genops(file):
            pass
    return file.tell()


WAYS = (flip, truncate, swap, overwrite, cut_or_repeat)


def damage(rng, content):
    """Returns a damaged copy of a file: somewhere, in its pickle, or in its directory."""
    way = WAYS[rng.integers(len(WAYS))]
    if rng.integers(4) == 0:
        return way(rng, content)
    pickled = (*WAYS, craft, craft)[rng.integers(len(WAYS) + 2)]
    if not content.startswith(b"PK"):
        end = end_of_pickles(content)
        return pickled(rng, content[:end]) + content[end:]
    if rng.integers(3):
        return packed_again(
            content,
            change=lambda name, data: pickled(rng, data) if name.endswith("data.pkl") else data,
        )
    directory = content.index(b"PK\x01\x02")
    return (flip, overwrite)[rng.integers(2)](rng, content, directory)


def check(path, content):
    """Reads a file, which must go well or end with one line; returns whether it went well."""
    path.write_bytes(content)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    start = time.perf_counter()
    try:
        for array in read_state_dict(path).values():
            array.tobytes()
        read = True
        del array
    except ValueError as error:
        text, read = str(error), False
        del error
        assert str(path) in text
        assert len(text.splitlines()) == 1
        assert len(text) < len(str(path)) + 1000
    assert time.perf_counter() - start < SECONDS
    assert tracemalloc.get_traced_memory()[1] - before < 2 * len(content) + ALLOWANCE
    return read


def check_many(folder, count, seed):
    """Damages files of all kinds; returns how many were read all the same."""
    rng = np.random.default_rng(seed)
    sources = list(make_sources(folder).values())
    tracemalloc.start()
    try:
        assert all(check(folder / "x.pt", source) for source in sources)
        return sum(
            check(folder / "x.pt", damage(rng, sources[i % len(sources)])) for i in range(count)
        )
    finally:
        tracemalloc.stop()


def test_damaged_files(tmp_path, capfd):
    read = check_many(tmp_path, 300, 0)
    assert 5 < read < 100


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems measure memory in other ways")
def test_thousands_of_damaged_files(tmp_path):
    """In a process of its own, whose memory the system has measured."""
    code = f"""
import resource, sys
from pathlib import Path
from tests.weights.test_damaged_torch_files import check_many
check_many(Path({str(tmp_path)!r}), 10, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(check_many(Path({str(tmp_path)!r}), 4000, 2))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert process.returncode == 0, process.stderr[-3000:]
    read, kib = map(int, process.stdout.split())
    assert 100 < read < 2000
    assert kib < 16 * 1024
