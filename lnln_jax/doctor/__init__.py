"""`lnln doctor`: whether a machine is sound and fast.

- `machine`: software and hardware; `accelerator`: whether JAX uses it, and why not.
- `deviations`: kernels (`kernel_cases`) and a network (`networks`) against float64.
- `speed`: ceilings of the device, and LNLN's share of them.
- `advice`: what to do, as a function of what was seen.
- `examination` runs all of it; `report` prints it.
"""
