"""What the tests of handed-on states share."""

import json
import struct

from lnln_jax.config import ModelConfig, TrainConfig, override
from lnln_jax.training.experiment import open_experiment
from lnln_jax.weights.handed_state import read_state, write_state
from lnln_jax.weights.safetensors_parts import METADATA_KEY
from tests.support.runs import CONFIG
from tests.support.small_networks import OPTIONS, make_variables, write_run

RUN = override(CONFIG, ["steps=6", "checkpoint_every=3", "model.n_feats=8"])


def write_parts_of(run, folder):
    """Writes the state after three steps of a run of `RUN`, in several files."""
    files = write_state(
        read_state(run / "checkpoints" / "3"), folder / "out.safetensors", part_bytes=20_000
    )
    assert [file.name for file in files] == [
        f"out-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)
    ]
    assert len(files) >= 3
    return files


def write_large_run(folder):
    """Writes a run, never trained, whose state takes some MiB, and one array more than one."""
    options = {**OPTIONS["edsr"], "n_resblocks": 1, "n_feats": 96}
    write_run(
        folder,
        TrainConfig(model=ModelConfig("edsr", 2, options)),
        make_variables("edsr", **options),
        step=5,
    )
    return folder


def assert_same_arrays(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        other = expected[name]
        assert (array.dtype, array.shape) == (other.dtype, other.shape), name
        assert array.tobytes() == other.tobytes(), name


def begin(config, source, *items):
    """The state with which a run would begin."""
    config = override(config, [f"init_from={source}", "init_state=true", *items])
    experiment = open_experiment(config)
    with experiment.runner as runner:
        return experiment.start(), runner.stream.get_state()


def edit_metadata(path, **changes):
    """Changes the metadata of a file and nothing else, as a flipped bit would."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"][METADATA_KEY]) | changes
    header["__metadata__"][METADATA_KEY] = json.dumps(about)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
