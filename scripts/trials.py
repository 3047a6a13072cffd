"""Compares settings of a training by what they reach in the same time.

    python scripts/trials.py configs/lnln_light_x2.py --minutes 10 --output runs/trials \\
        base "lr 1e-3: optimizer.learning_rate=1e-3" "batch 4: data.batch_size=4"

Each trial is a config with overrides, trained from its beginning with as many steps as the minutes
hold and evaluated on the validation images. Warm-up and cosine are shortened with the steps. The
minutes hold what the pace allows that a short run has measured before; it is measured once for all
trials whose steps cost the same, so these take equally many. The time that a trial then took is in
the table too, without compilation and evaluation. Trials run one after the other; what the output
folder holds is not done again. Short trials favour small networks and high rates.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from release import hours_of
from report import markdown_table

from lnln_jax.config import load_config
from lnln_jax.tables import format_scores

CALIBRATION = 40  # steps of which the last half gives the pace
COSTLY = ("model.", "data.lr_patch_size=", "data.batch_size=", "dtype=")  # what a step's cost is of
OWN = ("steps", "optimizer.cosine_steps", "optimizer.warmup_steps", "validate_every")  # of a trial


def train(config: str, folder: Path, overrides: list[str]) -> list[dict[str, Any]]:
    """Trains in a process of its own and returns the log."""
    lnln = str(Path(sys.executable).with_name("lnln"))
    command = [lnln, "train", config, "--output", str(folder)]
    quiet = ["sample_every=0", "spike_factor=0"]
    result = subprocess.run([*command, *overrides, *quiet], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{folder} failed:\n{result.stderr}")
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def pace_of(config: str, overrides: list[str], folder: Path) -> float:
    """Patches a second, measured now or before."""
    costly = [item for item in overrides if item.startswith(COSTLY)]
    path = folder / "paces.json"
    paces = json.loads(path.read_text()) if path.exists() else {}
    key = " ".join([config, *sorted(costly)])
    if key not in paces:
        own = [f"steps={CALIBRATION}", "optimizer.cosine_steps=0", "data.validation="]
        run = folder / "paces" / str(len(paces))
        log = train(config, run, [*costly, *own, f"log_every={CALIBRATION // 2}"])
        paces[key] = log[-1]["train/images_per_second"]
        path.write_text(json.dumps(paces, indent=2) + "\n")
    return paces[key]


def run(config: str, overrides: list[str], minutes: float, folder: Path) -> dict[str, Any]:
    """Trains and says what came of it."""
    settings = load_config(config, overrides)
    pace = pace_of(config, overrides, folder.parent)
    batch = settings.data.batch_size
    steps = max(1, round(60 * minutes * pace / batch))
    warmup = settings.optimizer.warmup_steps * steps // settings.steps
    cosine = steps if settings.optimizer.cosine_steps else 0
    own = [f"{key}={n}" for key, n in zip(OWN, (steps, cosine, warmup, steps), strict=True)]
    log = train(config, folder, [*overrides, *own, f"checkpoint_every={steps}"])
    return {
        "asked": [config, minutes, overrides],
        "steps": steps,
        "batch": batch,
        "minutes": 60 * hours_of(log, batch),
        "psnr": log[-1]["validation/psnr_y"],
        "ssim": log[-1]["validation/ssim_y"],
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row for each trial, the best first."""
    rows = [["trial", "settings", "steps", "patches", "minutes", "validation"]]
    for name, result in sorted(results.items(), key=lambda item: -item[1]["psnr"]):
        _, _, overrides = result["asked"]
        rows.append(
            [
                name,
                ", ".join(f"`{item}`" for item in overrides) or "as in the config",
                f"{result['steps']:,}",
                f"{result['steps'] * result['batch']:,}",
                f"{result['minutes']:.1f}",
                format_scores((result["psnr"], result["ssim"])),
            ]
        )
    return markdown_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="file in configs/")
    parser.add_argument("trials", nargs="*", metavar="NAME[: overrides]")
    parser.add_argument("--minutes", type=float, default=10.0, help="of steps in each trial")
    parser.add_argument("--output", type=Path, default=Path("runs/trials"))
    args = parser.parse_intermixed_args()
    trials = {}
    for trial in args.trials:
        name, _, text = trial.partition(":")
        trials[name] = overrides = text.split()
        if set(name) & set("/\\") or name == "paces":
            parser.error(f"a trial is called {name!r}; choose a name that a folder may have")
        for key in {item.partition("=")[0] for item in overrides} & set(OWN):
            parser.error(f"{name} sets {key}, which the minutes determine; leave it out")
    args.output.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, overrides in trials.items():
        path = args.output / name / "result.json"
        if not path.exists():
            found = run(args.config, overrides, args.minutes, path.parent)
            path.write_text(json.dumps(found, indent=2) + "\n")
            print(f"{name}: {found['psnr']:.2f} dB after {found['steps']:,} steps", flush=True)
        results[name] = json.loads(path.read_text())
        if results[name]["asked"] != [args.config, args.minutes, overrides]:
            parser.error(f"{path} is of another trial; choose another name or folder")
    print(table(results))


if __name__ == "__main__":
    main()
