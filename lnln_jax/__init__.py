"""lnln_jax."""
