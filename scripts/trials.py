"""Compares settings of a training by what they reach in the same time.

    python scripts/trials.py configs/lnln_light_x2.py --minutes 10 --output runs/trials \\
        base "lr=1e-3: optimizer.learning_rate=1e-3" "batch 4: data.batch_size=4"

Each trial is a config with overrides. A short run measures its pace on this machine; then it is
trained from its beginning with as many steps as the minutes hold, the whole schedule included, and
evaluated on the validation images of the config. Trials run one after the other; several calls with
the same output folder, each on cores of its own (`taskset`), share the work. Prints a table of all
that lie in the folder. Time for compilation and evaluation is not counted.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from release import hours_of

CALIBRATION = 40  # steps of which the last half gives the pace


def train(config: str, folder: Path, overrides: list[str]) -> list[dict[str, Any]]:
    """Trains in a process of its own and returns the log."""
    lnln = str(Path(sys.executable).with_name("lnln"))
    command = [lnln, "train", config, "--output", str(folder)]
    result = subprocess.run([*command, *overrides], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{folder} failed:\n{result.stderr}")
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def run(config: str, overrides: list[str], minutes: float, folder: Path) -> dict[str, Any]:
    """Measures the pace, trains, and says what came of it."""
    quiet = ["sample_every=0", "spike_factor=0"]
    log = train(
        config,
        folder / "pace",
        [
            *overrides,
            *quiet,
            *("data.validation=", "optimizer.warmup_steps=0", f"steps={CALIBRATION}"),
            *("optimizer.cosine_steps=0", f"log_every={CALIBRATION // 2}"),
        ],
    )
    batch = json.loads((folder / "pace" / "config.json").read_text())["data"]["batch_size"]
    pace = log[-1]["train/images_per_second"]
    steps = max(1, round(60 * minutes * pace / batch))
    whole = [f"{key}={steps}" for key in ("steps", "optimizer.cosine_steps", "validate_every")]
    log = train(config, folder / "run", [*overrides, *quiet, *whole, f"checkpoint_every={steps}"])
    scores = next(row for row in reversed(log) if "validation/psnr_y" in row)
    return {
        "overrides": overrides,
        "steps": steps,
        "batch": batch,
        "minutes": 60 * hours_of(log, batch),
        "psnr": scores["validation/psnr_y"],
        "ssim": scores["validation/ssim_y"],
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row for each trial, the best first."""
    rows = ["| trial | settings | steps | patches | minutes | validation |", "|" + " --- |" * 6]
    for name, r in sorted(results.items(), key=lambda item: -item[1]["psnr"]):
        settings = ", ".join(f"`{item}`" for item in r["overrides"]) or "as in the config"
        rows.append(
            f"| {name} | {settings} | {r['steps']:,} | {r['steps'] * r['batch']:,} | "
            f"{r['minutes']:.1f} | {r['psnr']:.2f} / {r['ssim']:.4f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="file in configs/")
    parser.add_argument("trials", nargs="*", metavar="NAME[: overrides]")
    parser.add_argument("--minutes", type=float, default=10.0, help="of steps in each trial")
    parser.add_argument("--output", type=Path, default=Path("runs/trials"))
    args = parser.parse_intermixed_args()
    for trial in args.trials:
        name, _, overrides = trial.partition(":")
        folder = args.output / name.replace(" ", "_")
        result = folder / "result.json"
        if not result.exists():
            found = run(args.config, overrides.split(), args.minutes, folder)
            result.write_text(json.dumps({"name": name, **found}, indent=2) + "\n")
            print(f"{name}: {found['psnr']:.2f} dB after {found['steps']:,} steps", flush=True)
    found = [json.loads(path.read_text()) for path in sorted(args.output.glob("*/result.json"))]
    print(table({result["name"]: result for result in found}))


if __name__ == "__main__":
    main()
