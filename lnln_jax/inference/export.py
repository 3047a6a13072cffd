"""Export of a network with its weights as one program in a file, for `lnln export`.

The file is what `jax.export` serializes: StableHLO, with the weights in it as constants. It runs
where JAX and flatbuffers are, without this package:

    program = jax.export.deserialize(Path("lnln_x2.stablehlo").read_bytes())
    sr = program.call(lr)  # float32 B H W C in 0..255 -> B H*scale W*scale C

A network of luma alone (VDSR) takes and returns Y (`rgb_to_ycbcr`). Other compilers take
`program.mlir_module()`; with several platforms its first argument is the index of one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from lnln_jax.inference.loading import load_model
from lnln_jax.inference.network import TILE_BATCH, TILE_BATCHES
from lnln_jax.inference.photo_pipeline import AUTO_TILE
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.kernels.attention import DENSE_POSITIONS
from lnln_jax.models import input_channels, least_side
from lnln_jax.runtime.extras import installed
from lnln_jax.runtime.files import check_target, failure_named, printable, write_file
from lnln_jax.runtime.numbers import whole
from lnln_jax.runtime.told import Told

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_TRACEBACK_LIMIT = "jax_traceback_in_locations_limit"


def export_model(
    source: str | Path,
    target: str | Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Told:
    """Writes a program to a file, which appears whole or not at all.

    Args:
      source: model, as `load_model` takes it, except "bicubic"; so are `scale` and `res_scale`.
      target: `.stablehlo` file. Its folder is made where there is none.
      overwrite: whether `target` may be there already.
      **options: options of `export_program`.

    Returns:
      What was done, in one line, with its `facts`.

    Raises:
      ValueError: the source cannot be loaded, the target cannot be written, or as `export_program`.
      RuntimeError: flatbuffers is not installed.
    """
    target = Path(target)
    if target.suffix.lower() != ".stablehlo":
        raise ValueError(f"target is {target}; its suffix must be .stablehlo")
    check_target(target, overwrite=overwrite)
    if not installed("flatbuffers"):  # which jax.export needs and does not bring
        raise RuntimeError("lnln export needs flatbuffers: pip install flatbuffers")
    model = load_model(source, scale=scale, res_scale=res_scale)
    program = export_program(model, **options)
    data = bytes(program.serialize())
    with failure_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, data)
    shapes = [aval.shape for aval in (*program.in_avals, *program.out_avals)]
    sizes = " to ".join("x".join(map(str, shape)) for shape in shapes)
    what = f"{model.name} x{model.scale}, {sizes} on {', '.join(program.platforms)}"
    return Told(
        f"{what}: {printable(target)} ({len(data) / 1e6:.2f} MB)",
        files=[printable(target)],
        size_bytes=len(data),
        network=model.name,
        scale=model.scale,
        input_shape=[*shapes[0]],
        output_shape=[*shapes[1]],
        platforms=[*program.platforms],
    )


def export_program(
    model: Upscaler,
    *,
    tile: int = AUTO_TILE,
    batch: int | None = None,
    platforms: Sequence[str] | None = None,
) -> jax_export.Exported:
    """Makes a program of a network with its weights.

    Args:
      model: network, as `load_model` returns it.
      tile: side of the images that the program takes, in LR pixels.
      batch: number of images at once; None for the fewest that `lnln upscale` takes there.
      platforms: some of `PLATFORMS`; None for that of JAX's device here, which also decides how a
        program for a CPU, among others or alone, computes attention.

    Returns:
      A program from float32 `batch tile tile C` in 0..255, C being `input_channels`, to float32
      `batch tile*scale tile*scale C`, neither clipped nor rounded.

    Raises:
      ValueError: a number out of its range, an unknown platform, or a model without a network.
    """
    if model.module is None:
        raise ValueError(f"model is {model.name}, which has no program; give a network")
    platforms = tuple(platforms or [jax_export.default_export_platform()])
    if not set(platforms) <= set(PLATFORMS):
        raise ValueError(f"platforms are {platforms}; choose one or several of {PLATFORMS}")
    if batch is None:
        batch = min(TILE_BATCHES.get(platform, TILE_BATCH) for platform in platforms)
    tile = whole("tile", tile, least=least_side(model.module))
    batch = whole("batch", batch, least=1)

    module, constants = model.module, jax.device_get(model.variables)
    channels = input_channels(module)
    few = -(-tile // 2) * -(-tile // 2) <= DENSE_POSITIONS  # in a quarter of a tile
    if getattr(module, "attention", None) == "auto" and "cpu" not in platforms and few:
        module = module.clone(attention="dense")  # "auto" asks for JAX's device here
    traceback_limit = getattr(jax.config, _TRACEBACK_LIMIT)
    jax.config.update(_TRACEBACK_LIMIT, 0)  # no names of source files in the program
    try:
        upscale = jax.jit(lambda lr: module.apply(constants, lr))
        export = jax_export.export(upscale, platforms=tuple(dict.fromkeys(platforms)))
        return export(jax.ShapeDtypeStruct((batch, tile, tile, channels), np.float32))
    finally:
        jax.config.update(_TRACEBACK_LIMIT, traceback_limit)
