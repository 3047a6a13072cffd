"""The networks in plain PyTorch, written from the papers to compare `lnln_jax.models` with.

Each class mirrors the Flax module of the same name; the keys of its state dict are those that
`lnln_jax.weights.torch_port` reads and writes. Only tests and scripts import this.
"""

from lnln_jax.torch_reference.carn import CARN, CARNM
from lnln_jax.torch_reference.distillation import IMDN, RFDN
from lnln_jax.torch_reference.drca import DRCA
from lnln_jax.torch_reference.edsr import EDSR
from lnln_jax.torch_reference.lnln import LNLN
from lnln_jax.torch_reference.msrn import MSRN
from lnln_jax.torch_reference.pan import PAN
from lnln_jax.torch_reference.rcan import RCAN
from lnln_jax.torch_reference.rdn import RDN
from lnln_jax.torch_reference.rlfn import RLFN
from lnln_jax.torch_reference.san import SAN
from lnln_jax.torch_reference.swinir_light import SwinIRLight
from lnln_jax.torch_reference.vdsr import VDSR, InterpolatingVDSR
from lnln_jax.torch_reference.wdsr import WDSRA, WDSRB, WDSRReloaded

# By the names of `lnln_jax.create_model`, each taking what the Flax network takes.
NETWORKS = {
    "lnln": LNLN,
    "drca": DRCA,
    "rcan": RCAN,
    "edsr": EDSR,
    "vdsr": InterpolatingVDSR,
    "rlfn": RLFN,
    "rfdn": RFDN,
    "imdn": IMDN,
    "carn": CARN,
    "carn_m": CARNM,
    "pan": PAN,
    "san": SAN,
    "swinir_light": SwinIRLight,
    "rdn": RDN,
    "msrn": MSRN,
    "wdsr_a": WDSRA,
    "wdsr_b": WDSRB,
    "wdsr_reloaded": WDSRReloaded,
}

__all__ = [
    "CARN",
    "CARNM",
    "DRCA",
    "EDSR",
    "IMDN",
    "LNLN",
    "MSRN",
    "NETWORKS",
    "PAN",
    "RCAN",
    "RDN",
    "RFDN",
    "RLFN",
    "SAN",
    "VDSR",
    "WDSRA",
    "WDSRB",
    "InterpolatingVDSR",
    "SwinIRLight",
    "WDSRReloaded",
]
