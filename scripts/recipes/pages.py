"""Writes the pages about the trained networks of the package.

    python -m scripts.recipes.pages

These are their model cards in docs/models/, the tables of docs/results.md and README.md, and the
picture of learning curves. All comes from the networks' files and from published tables: nothing is
trained or evaluated here; `scripts/recipes/release.py` has measured what stands there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib

from lnln_jax.evaluation.model_sizes import format_cost
from lnln_jax.evaluation.paper import TABLE_1, published_scores
from lnln_jax.evaluation.report import format_scores
from lnln_jax.weights import pretrained
from lnln_jax.weights.base import describe
from lnln_jax.weights.pretrained import BENCHMARKS, Pretrained
from scripts.benchmarks.common import markdown_table
from scripts.recipes.marks import ROOT, between_marks

matplotlib.use("agg")
from matplotlib import pyplot

# Places that the files of the networks name, which have moved since they were released.
MOVED = {"`scripts/training_set.py`": "`scripts/recipes/training_set.py`"}
# On `BENCHMARKS`, as the tables of later papers quote them (SRCNN, TPAMI 2016).
SRCNN = {
    2: ((36.66, 0.9542), (32.45, 0.9067), (31.36, 0.8879)),
    4: ((30.48, 0.8628), (27.50, 0.7513), (26.90, 0.7101)),
}
CARD = """# {name}

{what}, {parameters:,} parameters, {megabytes:.2f} MB. Written by `scripts/recipes/pages.py`.

```
lnln upscale photo.png --model {name}
lnln evaluate {name} --data data/Set5 --data data/Set14 --data data/B100
```

{scores}

- **For** enlarging sharp photos whose small version came of bicubic interpolation. **Not for**
  noise, blur or strong JPEG artefacts, which it has not seen, nor for detail that must be true: it
  guesses.
- **Trained** by {commands}, {start}, with seed {seed}: {trained} LR pixels.
  The steps took {cost}, until {date}, at a median pace of {pace} patches a second{shared}.
  Released with {versions}.
- **Data**: {data}.
- **Chosen**: {chosen}, with {validation:.2f} dB on all validation images.
- **Licence**: {licence}
- **SHA-256**: `{sha256}`

All settings are in the file's metadata:
`python -c "from lnln_jax import pretrained; print(pretrained.load('{name}').training['config'])"`.
"""


def pages(networks: Sequence[Pretrained]) -> dict[Path, str]:
    """Returns what is to stand in which file."""
    page, readme, cards = ROOT / "docs" / "results.md", ROOT / "README.md", ROOT / "docs" / "models"
    return {
        page: between_marks(page, f"{published_tables(networks)}\n\n{costs(networks)}"),
        readme: between_marks(readme, overview(networks)),
        **{cards / f"{network.name}.md": card(network) for network in networks},
    }


def published_tables(networks: Sequence[Pretrained]) -> str:
    """Returns a table for each scale: ours, and the published rows."""
    tables = []
    for scale in sorted({network.scale for network in networks}):
        own = [network for network in networks if network.scale == scale]
        rows = [["bicubic", *_cells(own[0].training["bicubic"]), "ours"]]
        rows += [[f"**{n.name}**", *_cells(n.training["scores"]), "ours, shipped"] for n in own]
        if scale in SRCNN:
            quoted = map(format_scores, SRCNN[scale])
            rows.append(["SRCNN", *quoted, "published, quoted in later papers"])
        rows += [
            [method, *_published(method, scale), "published, the LNLN paper's Table 1"]
            for method in TABLE_1.get(scale, {})
        ]
        tables.append(markdown_table([[f"x{scale}", *BENCHMARKS, ""], *rows]))
    return "\n\n".join(tables)


def costs(networks: Sequence[Pretrained]) -> str:
    """Returns the table of what training has cost."""
    rows = [["network", "what", "trained", "steps took", "median pace", "until"]]
    for network in networks:
        training = network.training
        rows.append(
            [
                f"[{network.name}](models/{network.name}.md)",
                describe(network.weights.model),
                f"{_trained(network)}, {_start(network)}",
                format_cost(network),
                f"{_pace(training)} patches/s",
                training["date"],
            ]
        )
    return markdown_table(rows)


def overview(networks: Sequence[Pretrained]) -> str:
    """Returns README's table."""
    rows = [["network", "parameters", "trained", *BENCHMARKS]]
    for scale in sorted({network.scale for network in networks}):
        own = [network for network in networks if network.scale == scale]
        rows.append([f"bicubic x{scale}", "", "", *_cells(own[0].training["bicubic"])])
        for network in own:
            rows.append(
                [
                    f"[`{network.name}`](docs/models/{network.name}.md)",
                    f"{_parameters(network) / 1e6:.2f} M",
                    f"{_trained(network)}, {_start(network)}; {format_cost(network)}",
                    *_cells(network.training["scores"]),
                ]
            )
        for method in ("Bicubic", "LNLN") if scale in TABLE_1 else ():
            name = f"{method} x{scale}, as published (not ours)"
            rows.append([name, "", "", *_published(method, scale)])
    return markdown_table(rows)


def card(network: Pretrained) -> str:
    """Returns the model card of a network."""
    training = network.training
    config = training["config"]
    patches = _steps(training) * config["data"]["batch_size"]
    alone = patches / training["pace"] / 3600
    slower = training["hours"] > 1.2 * alone
    rows = [
        ["mean PSNR (dB) / SSIM on luma", *BENCHMARKS],
        [network.name, *_cells(training["scores"])],
        ["bicubic, by the same protocol", *_cells(training["bicubic"])],
    ]
    text = CARD.format(
        **{key: training[key] for key in ("data", "date", "validation", "licence")},
        commands=", then by ".join(f"`{stage['command']}`" for stage in network.stages),
        pace=_pace(training),
        name=network.name,
        cost=format_cost(network),
        what=describe(network.weights.model),
        parameters=_parameters(network),
        megabytes=network.path.stat().st_size / 1e6,
        scores=markdown_table(rows),
        start=_start(network),
        seed=config["seed"],
        trained=_trained(network),
        shared=f", which makes {alone:.1f} h: other work shared the machine" if slower else "",
        versions=", ".join(f"{key} {value}" for key, value in training["versions"].items()),
        chosen=_chosen(network),
        sha256=network.sha256,
    )
    for former, present in MOVED.items():
        text = text.replace(former, present)
    return text


def draw(networks: Sequence[Pretrained], path: Path) -> None:
    """Draws validation PSNR by step."""
    figure, axes = pyplot.subplots(
        1, len(networks), figsize=(4.5 * len(networks), 3.2), squeeze=False, layout="constrained"
    )
    for network, axis in zip(networks, axes[0], strict=True):
        training = next(stage for stage in reversed(network.stages) if stage["curve"])
        steps, psnr = zip(*training["curve"], strict=True)
        axis.plot(steps, psnr, marker="o", markersize=3)
        images = training["config"]["data"]["validation_images"]
        stages = network.stages
        number = f", stage {stages.index(training) + 1} of {len(stages)}"
        stage = number if len(stages) > 1 else ""
        axis.set_title(f"{network.name}{stage}, {images or 'all'} validation images")
        axis.set_xlabel("step")
        axis.set_ylabel("validation PSNR on luma, dB")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _cells(scores: Mapping[str, tuple[float, float]]) -> list[str]:
    return [format_scores(scores[name]) for name in BENCHMARKS]


def _published(method: str, scale: int) -> list[str]:
    return [format_scores(published_scores(method, name, scale)) for name in BENCHMARKS]


def _parameters(network: Pretrained) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(network.weights.variables["params"]))


def _steps(training: Mapping[str, Any]) -> int:
    return training.get("steps", training["config"]["steps"])


def _pace(training: Mapping[str, Any]) -> str:
    return f"{training['pace']:.2g}" if training["pace"] < 100 else f"{training['pace']:.0f}"


def _trained(network: Pretrained) -> str:
    parts = []
    for stage in network.stages:
        data = stage["config"]["data"]
        size = data["lr_patch_size"]
        parts.append(f"{_steps(stage):,} steps of {data['batch_size']} patches of {size}x{size}")
    return ", then ".join(parts)


def _chosen(network: Pretrained) -> str:
    training = network.training
    if not training["curve"]:
        return f"as it was at its last step, {_steps(training):,}"
    images = training["config"]["data"]["validation_images"] or "the"
    return (
        f"the best of the run's checkpoints on {images} validation images, that of step "
        f"{network.weights.step:,}"
    )


def _start(network: Pretrained) -> str:
    if not network.start:
        return "from scratch"
    if network.start not in pretrained.names():
        return f"from {network.start}"
    other = pretrained.load(network.start)
    grown = "" if other.weights.model.options == network.weights.model.options else "grown "
    tail = "" if other.scale == network.scale else ", all but its tail"
    return f"{grown}from {network.start}{tail}"


def main() -> None:
    networks = [pretrained.load(name) for name in pretrained.names()]
    for path, text in pages(networks).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(path)
    draw(networks, ROOT / "docs" / "learning_curves.png")


if __name__ == "__main__":
    main()
