"""Compares settings of a training run by what they reach in the same time.

    python -m scripts.recipes.trials configs/lnln_light_x2.py --minutes 10 --output runs/trials \\
        base "lr 1e-3: optimizer.learning_rate=1e-3" "batch 4: data.batch_size=4"

Each trial is one `lnln train` of a config with overrides, from its beginning to its last step, with
a `time_budget` of the minutes: from the start of its process, with compilation and the validation
at the end. Warm-up and cosine, or stairs, are stretched to the steps that fit. What the steps alone
took is in the table too. Trials run one after the other; what the output folder holds is not done
again. Short trials favour small networks and high rates.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from lnln_jax.config import load_config
from lnln_jax.evaluation.report import format_scores
from scripts.benchmarks.common import markdown_table
from scripts.benchmarks.processes import last_of_each, lnln
from scripts.recipes.release import hours_of

OWN = ("steps", "schedule_steps", "time_budget", "validate_every")  # what the minutes determine
AT_THE_END = 10**9  # an interval that no trial is as long as


def run(config: str, overrides: list[str], minutes: float, folder: Path) -> dict[str, Any]:
    """Trains in a process of its own, and returns what came of it."""
    own = [f"time_budget={60 * minutes:f}s", "sample_every=0", "spike_factor=0"]
    own += [f"{key}={AT_THE_END}" for key in ("validate_every", "checkpoint_every")]
    try:
        lnln(["train", config, "--output", str(folder), *last_of_each([*overrides, *own])])
    except RuntimeError as error:
        raise SystemExit(f"{folder} failed: {error}") from error
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    batch = load_config(config, overrides).data.batch_size
    return {
        "asked": [config, minutes, overrides],
        "steps": log[-1]["step"],
        "batch": batch,
        "minutes": 60 * hours_of(log, batch),
        "psnr": log[-1]["validation/psnr_y"],
        "ssim": log[-1]["validation/ssim_y"],
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Returns a table with a row for each trial, the best first."""
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
    parser.add_argument("--minutes", type=float, default=10.0, help="of each trial")
    parser.add_argument("--output", type=Path, default=Path("runs/trials"))
    args = parser.parse_intermixed_args()
    trials = {}
    for trial in args.trials:
        name, _, text = trial.partition(":")
        trials[name] = overrides = text.split()
        if set(name) & set("/\\"):
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
