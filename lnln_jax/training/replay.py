"""One step of a training run again: which patches made its loss leap, or what became NaN."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.config import TrainConfig, from_dict
from lnln_jax.data.sampling import Sampler, Samples
from lnln_jax.images.files import Photo, write_photo
from lnln_jax.runtime.files import make_folder, printable, write_file
from lnln_jax.training.checkpoints import restore_before
from lnln_jax.training.experiment import Experiment, open_experiment
from lnln_jax.training.places import with_paths_of
from lnln_jax.training.state import Batch, TrainState
from lnln_jax.training.step import as_seen
from lnln_jax.weights.integrity import named_arrays
from lnln_jax.weights.runs import saved_steps

_SHOWN = 5  # patches and parameters in the text


def replay(folder: Path, step: int, output: Path | None = None) -> str:
    """Goes to a step of a run and writes what it sees there; the run itself stays as it is.

    It starts from the newest checkpoint before the step, or from the first weights, and takes the
    steps between with the same batches. So it arrives at the same bits on the same device.

    Args:
      folder: folder of the run.
      step: step to look at, counted from 1, as logs count.
      output: folder for `report.json` and `batch.png` (LR, network and HR of each patch, the
        worst first); None: `replay/<step>` in the run.

    Returns:
      Lines on what is most remarkable.

    Raises:
      ValueError: no run, a step after its last, images that are gone or others, or a folder that
        cannot be written to.
    """
    checkpoints = folder / "checkpoints"
    last = _read_config(folder / "config.json").steps
    if step > last:
        raise ValueError(f"step is {step}, but the run in {printable(folder)} has {last} steps")
    settings = _settings_of(folder, step)
    output = output or folder / "replay" / f"{step:07d}"
    experiment = open_experiment(with_paths_of(_here(_read_config(settings)), folder))
    with experiment.runner as runner:
        if any(saved < step for saved in saved_steps(checkpoints)):
            state = restore_before(
                checkpoints, step, experiment.shapes, runner.stream, experiment.identity
            )
        else:
            state = experiment.start()
        state = experiment.scheduled(state)
        before = start = int(state.step)
        if before >= step:
            raise ValueError(
                f"step is {step}, but the run in {printable(folder)} began with step {before} "
                "of another run (init_state); replay that one"
            )
        if _settings_of(folder, start + 1) != settings:
            raise ValueError(
                f"step is {step}, but the settings of the run in {printable(folder)} were "
                "changed before, and no checkpoint between them and the step is left; replay a "
                "later step"
            )
        while before < step - 1:
            n = min(runner.most, step - 1 - before)
            state, _ = runner.run(state, n)
            before += n
        batch = runner.batch()
    report, pictures = _look(experiment, state, batch, step)
    report = {"step": step, "replayed_from": start, **report}
    make_folder(output)
    write_file(output / "report.json", (json.dumps(_for_json(report), indent=2) + "\n").encode())
    write_photo(Photo(pictures), output / "batch.png")
    return _text(report, output)


def _settings_of(folder: Path, step: int) -> Path:
    """Returns the file with the configuration under which a run took a step."""
    for path in sorted(folder.glob("config_until_*.json")):
        if step <= int(path.stem.rpartition("_")[2]):
            return path
    return folder / "config.json"


def _read_config(path: Path) -> TrainConfig:
    try:
        return from_dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path.parent} is not a training run ({error}); give a folder that `lnln train` made"
        ) from error


def _here(config: TrainConfig) -> TrainConfig:
    """Returns a configuration for devices that exist, without `pmap`, which maps whole steps."""
    if config.parallel == "pmap":
        config = replace(config, parallel="auto")
    return replace(config, devices=0) if config.devices > len(jax.devices()) else config


def _look(
    experiment: Experiment, state: TrainState, batch: Batch, step: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns a report and pictures of what the batch of a step does to the state before it."""
    config = experiment.config
    samples = Sampler(
        [count for _, count in experiment.sources],
        batch_size=config.data.batch_size,
        seed=config.seed,
        weights=config.data.weights or None,
    )(step - 1)
    gradients = jax.jit(experiment.gradients)(state.variables, batch)
    images = {key: np.asarray(rows) for key, rows in batch.items()}
    named = named_arrays(gradients.params)
    norms = {name: float(jnp.linalg.norm(grad.astype(jnp.float32))) for name, grad in named.items()}
    sr, losses = _apply(experiment, state, images)
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
    return report, _sheet(images["lr"][order], sr[order], images["hr"][order])


def _apply(
    experiment: Experiment, state: TrainState, batch: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the output in training mode, `B H W C`, and the mean absolute error of each patch."""
    lr, hr = as_seen(experiment.module, batch)

    def run(variables: Any, lr: jax.Array) -> jax.Array:
        return experiment.module.apply(variables, lr, train=True, mutable=["batch_stats"])[0]

    sr = np.asarray(jax.jit(run)(experiment.layout.local(state.variables), lr))
    return sr, np.abs(sr - hr).mean((1, 2, 3), dtype=np.float64)


def _for_json(value: Any) -> Any:
    """Turns NaN and infinity into text: JSON has no numbers for them."""
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
    """Returns where a patch of a batch comes from."""
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
    """Draws a row for each patch: LR in large pixels, SR, HR; NaN is magenta."""
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
    return "\n".join([*lines, f"written to {printable(output)}"])
