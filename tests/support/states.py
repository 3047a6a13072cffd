"""What the tests of handed-on states share."""

import json
import struct

from lnln_jax.config import ModelConfig, TrainConfig, override
from lnln_jax.training.experiment import open_experiment
from lnln_jax.weights.safetensors_parts import METADATA_KEY
from tests.support.small_networks import OPTIONS, make_variables, write_run


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
