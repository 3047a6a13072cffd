"""One step of a training again, to see which patches made its loss leap, or what became NaN."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.checkpoint import restore_before, saved_steps
from lnln_jax.checkpoint_checks import named_arrays
from lnln_jax.config import TrainConfig, from_dict
from lnln_jax.data import make_train_iterator
from lnln_jax.data.pipeline import make_sampler
from lnln_jax.data.sampling import Samples
from lnln_jax.experiment import Experiment, open_experiment
from lnln_jax.files import make_folder, write_file
from lnln_jax.image import rgb_to_y
from lnln_jax.image_files import Photo, write_photo
from lnln_jax.models import input_channels
from lnln_jax.state import Batch, TrainState
from lnln_jax.training_data import open_sources

_SHOWN = 5  # patches and parameters in the text


def replay(folder: Path, step: int, output: Path | None = None) -> str:
    """Goes to a step of a run and writes what it sees there; the run itself stays as it is.

    It starts from the newest checkpoint before the step, or from the first weights, and takes the
    steps between with the same batches. So it arrives at the same bits on the same device.

    Args:
      folder: of the run.
      step: counted from 1, as logs count.
      output: folder for `report.json` and `batch.png` (LR, network and HR of each patch, the
        worst first); None: `replay/<step>` in the run.

    Returns:
      What is most remarkable, in lines.

    Raises:
      ValueError: no run, images that are gone or others, or a folder that can't be written to.
    """
    try:
        config = from_dict(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{folder} is no training run ({error}); give a folder that `lnln train` made"
        ) from error
    if config.parallel == "pmap":  # which maps whole steps; the same but for rounding
        config = replace(config, parallel="auto")
    output = output or folder / "replay" / f"{step:07d}"
    checkpoints = folder / "checkpoints"
    resumed = any(saved < step for saved in saved_steps(checkpoints))
    experiment = open_experiment(config, resumed=resumed)
    with experiment.feed as feed:
        state = restore_before(
            checkpoints, step, experiment.state, feed.stream, experiment.identity
        )
        before = start = int(state.step)
        while before < step - 1:
            n = min(feed.most, step - 1 - before)
            state, _ = feed.run(state, n)
            before += n
    report, pictures = _look(experiment, state, step)
    report = {"step": step, "replayed_from": start, **report}
    make_folder(output)
    write_file(output / "report.json", (json.dumps(_for_json(report), indent=2) + "\n").encode())
    write_photo(Photo(pictures), output / "batch.png")
    return _text(report, output)


def _look(
    experiment: Experiment, state: TrainState, step: int
) -> tuple[dict[str, Any], np.ndarray]:
    """What the batch of a step does to the state before it."""
    config = experiment.config
    sources = open_sources(config)
    options: dict[str, Any] = {
        "lr_patch_size": config.data.lr_patch_size,
        "batch_size": config.data.batch_size,
        "seed": config.seed,
        "weights": config.data.weights or None,
    }
    stream = make_train_iterator(sources, **options, num_threads=0)
    stream.set_state({"next_step": step - 1})
    batch = next(stream)
    stream.close()
    samples = make_sampler(sources, **options)(step - 1)

    gradients = jax.jit(experiment.gradients)(state.variables, experiment.layout.put_rows(batch))
    named = named_arrays(gradients.params)
    norms = {name: float(jnp.linalg.norm(grad.astype(jnp.float32))) for name, grad in named.items()}
    sr, losses = _apply(experiment, state, batch, config)
    order = np.argsort(-np.where(np.isfinite(losses), losses, np.inf), kind="stable")
    report = {
        "loss": float(gradients.loss),
        "grad_norm": float(np.sqrt(np.square(list(norms.values())).sum())),
        "not_finite": {
            "parameters": _not_finite(state.variables["params"]),
            "batch_statistics": _not_finite(state.variables.get("batch_stats", {})),
            "gradients": _not_finite(gradients.params),
        },
        "patches": [_origin(samples, experiment.sources, i, losses[i]) for i in order.tolist()],
        "gradient_norms": dict(sorted(norms.items(), key=lambda item: -item[1])),
    }
    return report, _sheet(batch["lr"][order], sr[order], batch["hr"][order])


def _apply(
    experiment: Experiment, state: TrainState, batch: Batch, config: TrainConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The network's output in training mode, `B H W C`, and the mean absolute error of each."""
    lr, hr = (np.asarray(batch[key], np.float32) for key in ("lr", "hr"))
    if input_channels(experiment.module) == 1:
        lr, hr = rgb_to_y(lr)[..., None], rgb_to_y(hr)[..., None]

    def run(variables: Any, lr: jax.Array) -> jax.Array:
        return experiment.module.apply(variables, lr, train=True, mutable=["batch_stats"])[0]

    sr = np.asarray(jax.jit(run)(experiment.layout.local(state.variables), lr))
    return sr, np.abs(sr - hr).mean((1, 2, 3), dtype=np.float64)


def _for_json(value: Any) -> Any:
    """NaN and infinity as text: JSON has no numbers for them."""
    if isinstance(value, dict):
        return {key: _for_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _not_finite(tree: Any) -> list[str]:
    return [name for name, leaf in named_arrays(tree).items() if not bool(jnp.isfinite(leaf).all())]


def _origin(
    samples: Samples, sources: list[tuple[str, int]], row: int, error: float
) -> dict[str, Any]:
    """Where a patch of a batch comes from."""
    number = int(samples.image[row])
    ends = np.cumsum([count for _, count in sources])
    source = int(np.searchsorted(ends, number, side="right"))
    return {
        "row": row,
        "mean_absolute_error": float(error),
        "source": sources[source][0],
        "image": number - int(ends[source]) + sources[source][1],
        "symmetry": int(samples.symmetry[row]),
    }


def _sheet(lr: np.ndarray, sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """A row for each patch: LR in large pixels, SR, HR; NaN is magenta."""
    scale = hr.shape[1] // lr.shape[1]
    lr = lr.repeat(scale, axis=1).repeat(scale, axis=2)
    bad = ~np.isfinite(sr).all(-1)
    shown = np.nan_to_num(sr, nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255).round()
    shown = np.broadcast_to(shown, hr.shape).astype(np.uint8)
    shown = np.where(bad[..., None], np.array([255, 0, 255], np.uint8), shown)
    return np.concatenate(np.concatenate([lr, shown, hr], axis=2))


def _text(report: dict[str, Any], output: Path) -> str:
    lines = [
        f"step {report['step']}, replayed from step {report['replayed_from']}: loss "
        f"{report['loss']:.6g}, norm of the gradient {report['grad_norm']:.6g}"
    ]
    for kind, names in report["not_finite"].items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"{kind} that are not finite: {', '.join(names[:_SHOWN])}{more}")
    lines.append("patches with the largest errors:")
    lines += [
        f"  {patch['mean_absolute_error']:10.4g}  image {patch['image']} of {patch['source']}, "
        f"row {patch['row']} of the batch"
        for patch in report["patches"][:_SHOWN]
    ]
    lines.append("parameters with the largest gradients:")
    shown = list(report["gradient_norms"].items())[:_SHOWN]
    lines += [f"  {norm:10.4g}  {name}" for name, norm in shown]
    return "\n".join([*lines, f"written to {output}"])
