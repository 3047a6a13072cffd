"""The tables of all networks: what their PyTorch state dicts hold, and how to know them."""

from lnln_jax.weights.tables import (
    basicsr,
    carn,
    distillation,
    msrn,
    pan,
    rdn,
    residual,
    san,
    swinir_light,
    wdsr,
)
from lnln_jax.weights.tables.base import Network

# The authors' keys, which are written.
NETWORKS: dict[str, Network] = {
    **residual.TABLES,
    **distillation.TABLES,
    **carn.TABLES,
    **pan.TABLES,
    **rdn.TABLES,
    **msrn.TABLES,
    **wdsr.TABLES,
    **san.TABLES,
    **swinir_light.TABLES,
}
# All that are read, with the names of the networks: other projects' keys come after the authors'.
TABLES = (
    *NETWORKS.items(),
    *basicsr.TABLES.items(),
    *wdsr.PARAMETRIZED.items(),
)
