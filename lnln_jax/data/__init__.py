"""Training data: sources of (lr, hr) pairs and the pipeline that cuts batches from them."""

from lnln_jax.data.dead_leaves import dead_leaves
from lnln_jax.data.pipeline import make_train_iterator, random_patch
from lnln_jax.data.sources import PairSource, checksum, dead_leaves_pairs, load_folder

__all__ = [
    "PairSource",
    "checksum",
    "dead_leaves",
    "dead_leaves_pairs",
    "load_folder",
    "make_train_iterator",
    "random_patch",
]
