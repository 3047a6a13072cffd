"""Whether JAX finds the devices that it is to compute on."""

import os

import jax

_OPTION = "jax_platforms"  # of `jax.config`, which has its options as attributes
NO_DEVICE = "there is no such device"
UNNAMED = (AssertionError, AttributeError)  # that JAX raises instead
_SAID = "Unable to initialize backend"


def start_fault(error: Exception) -> str | None:
    """Returns why JAX does not start, where that is what an error comes from; else None.

    JAX itself raises a bare AssertionError where `JAX_PLATFORMS` names a GPU and there is none;
    under `python -O`, an AttributeError of None.
    """
    reason = NO_DEVICE
    if isinstance(error, RuntimeError) and _SAID in str(error):
        reason = str(error).partition(" (")[0].rstrip(".")
    elif not isinstance(error, UNNAMED) or _starts():
        return None
    wanted = getattr(jax.config, _OPTION)
    if not wanted:
        return f"JAX does not start: {reason}; set JAX_PLATFORMS=cpu to do without that device"
    setting = "JAX_PLATFORMS" if os.environ.get("JAX_PLATFORMS") == wanted else _OPTION
    return (
        f"JAX does not start with {setting}={wanted}: {reason}; unset {setting}, or set it to cpu; "
        "`lnln doctor` says more"
    )


def _starts() -> bool:
    try:
        jax.default_backend()
    except (*UNNAMED, RuntimeError):
        return False
    return True
