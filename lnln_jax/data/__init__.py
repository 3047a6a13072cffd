"""Training data: sources of (lr, hr) pairs, and batches of patches cut from them."""

from lnln_jax.data.batches import Source, Stream, make_train_iterator
from lnln_jax.data.dead_leaves import dead_leaves
from lnln_jax.data.degradations import Degradation, degrade
from lnln_jax.data.folders import load_folder
from lnln_jax.data.pairs import PairSource, dead_leaves_pairs
from lnln_jax.data.records import RecordSource, find_dataset

__all__ = [
    "Degradation",
    "PairSource",
    "RecordSource",
    "Source",
    "Stream",
    "dead_leaves",
    "dead_leaves_pairs",
    "degrade",
    "find_dataset",
    "load_folder",
    "make_train_iterator",
]
