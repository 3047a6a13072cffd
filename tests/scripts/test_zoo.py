"""The pages on all networks are what the script writes."""

import json

from lnln_jax.evaluation.published import all_published
from scripts.recipes import zoo


def test_the_pages_are_up_to_date():
    for path, text in zoo.pages(zoo.kept()).items():
        assert path.read_text("utf-8") == text, f"{path}: run python -m scripts.recipes.zoo"


def test_a_measured_network_stands_below_its_published_row(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "KEPT", tmp_path / "zoo.json")
    row = {
        "kind": "measured",
        "published_size": True,
        "network": "imdn",
        "scale": 2,
        "model": "mine",
        "sha256": "0",
        "scores": {"Set5": {"psnr_y_db": 1.5, "ssim_y": 0.25}},
    }
    board = {"environment": {"date": "today", "jax": "0"}, "rows": [row, {**row, "network": None}]}
    (tmp_path / "board.json").write_text(json.dumps(board), "utf-8")
    zoo.keep([tmp_path / "board.json"])
    zoo.keep([])  # what was measured before stays
    kept = zoo.kept()
    assert [each["network"] for each in kept] == ["imdn"]
    lines = zoo.tables(kept).splitlines()
    published = next(i for i, line in enumerate(lines) if line.startswith("| `imdn`"))
    assert "**1.50 / 0.2500**" in lines[published + 1]
    assert "`mine`" in lines[published + 1]
    assert {f"`{each.network}`" for each in all_published()} - {"`bicubic`"} == {
        line.split("|")[1].strip() for line in lines if line.startswith("| `")
    }
