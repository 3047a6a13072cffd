"""Writes the tables of docs/results.md and its picture of learning curves.

    python scripts/results.py

All of it comes from the files of the trained networks in the package and from the paper's tables,
so nothing is trained or evaluated; `scripts/release.py` has measured what stands here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from lnln_jax import pretrained
from lnln_jax.paper import BENCHMARKS, TABLE_1
from lnln_jax.pretrained import Pretrained
from lnln_jax.weights import describe

matplotlib.use("agg")
from matplotlib import pyplot

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
PICTURE = ROOT / "docs" / "learning_curves.png"
BEGIN, END = "<!-- scripts/results.py writes from here -->\n", "<!-- to here -->\n"
# Mean PSNR on Set5 of SRCNN (TPAMI 2016), as the VDSR paper's table has it.
SRCNN = {2: 36.66, 4: 30.48}


def tables(networks: Sequence[Pretrained]) -> str:
    """The tables, in Markdown."""
    parts = []
    for scale in sorted({network.model.scale for network in networks}):
        own = [network for network in networks if network.model.scale == scale]
        head = f"| x{scale} | {' | '.join(pretrained.BENCHMARKS)} | |"
        rows = [head, "| --- |" + " --- |" * (len(pretrained.BENCHMARKS) + 1)]
        rows.append(_row("bicubic", own[0].training["bicubic"], "ours"))
        rows += [_row(f"**{n.name}**", n.training["scores"], "ours, shipped") for n in own]
        if scale in SRCNN:
            rows.append(f"| SRCNN | {SRCNN[scale]:.2f} | | | published |")
        for method, scores in TABLE_1.get(scale, {}).items():
            by_name = dict(zip(BENCHMARKS, scores, strict=True))
            rows.append(_row(method, by_name, "published, the LNLN paper's Table 1"))
        parts.append("\n".join(rows))
    cost = [
        "| network | what | trained | hours of steps | patches a second, median | hardware |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for network in networks:
        config = network.training["config"]
        data = config["data"]
        size = data["lr_patch_size"]
        start = f", from {config['init_from']}" if config["init_from"] else ""
        cost.append(
            f"| [{network.name}](models/{network.name}.md) | {describe(network.model)} | "
            f"{config['steps']:,} steps of {data['batch_size']} patches of {size}x{size}{start} | "
            f"{network.training['hours']:.1f} | {network.training['pace']:.0f} | "
            f"{network.training['hardware']} |"
        )
    return "\n\n".join([*parts, "\n".join(cost)]) + "\n"


def _row(name: str, scores: dict[str, Sequence[float]], origin: str) -> str:
    cells = [f"{scores[key][0]:.2f} / {scores[key][1]:.4f}" for key in pretrained.BENCHMARKS]
    return f"| {name} | {' | '.join(cells)} | {origin} |"


def draw(networks: Sequence[Pretrained], path: Path) -> None:
    """Validation PSNR by step."""
    figure, axes = pyplot.subplots(
        1, len(networks), figsize=(4.5 * len(networks), 3.2), squeeze=False, layout="constrained"
    )
    for network, axis in zip(networks, axes[0], strict=True):
        steps, psnr = zip(*network.training["curve"], strict=True)
        axis.plot(steps, psnr, marker="o", markersize=3)
        axis.set_title(network.name)
        axis.set_xlabel("step")
        axis.set_ylabel("validation PSNR on luma, dB")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> None:
    networks = [pretrained.describe(name) for name in pretrained.names()]
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(before + BEGIN + "\n" + tables(networks) + "\n" + END + after)
    draw(networks, PICTURE)
    print(json.dumps({network.name: network.training["scores"] for network in networks}))


if __name__ == "__main__":
    main()
