"""What the benchmarks share: turns, spreads, options and tables."""

import json
import time

import pytest

from scripts.benchmarks import common


def test_sides_take_turns_and_the_first_round_does_not_count():
    calls = []
    sides = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = common.in_turns(sides, 2)
    assert "".join(calls) == "ab" * 3
    assert [len(times) for times in seconds.values()] == [2, 2]
    calls.clear()
    seconds = common.in_turns(sides, 1, calls=2)
    assert "".join(calls) == "aabb" * 2
    assert [len(times) for times in seconds.values()] == [1, 1]


def test_a_result_and_its_seconds():
    result, seconds = common.timed(lambda: time.sleep(0.02) or 7)
    assert result == 7
    assert 0.02 <= seconds < 5


def test_spread_is_median_and_range():
    assert common.spread([3, 1, 2.04], 1) == "2.0 (1.0-3.0)"


def test_own_work_is_not_that_of_others():
    cores = common.watch_others(own=lambda: 1e9 * time.monotonic())  # more than there is
    time.sleep(0.05)
    assert cores() == 0


def test_options():
    texts = ["n_resblocks=4", "res_scale=0.1", "attention=dense"]
    options = {"n_resblocks": 4, "res_scale": 0.1, "attention": "dense"}
    assert common.parse_options(texts) == options
    with pytest.raises(ValueError, match="n_resblocks: write a hyper-parameter as n_resblocks=4"):
        common.parse_options(["n_resblocks"])


def test_a_report(tmp_path):
    table = common.markdown_table([["a", "b"], ["1", "2"]])
    assert table == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    common.write_report(tmp_path / "new", "name", {"a": [1, 2]}, table)
    assert (tmp_path / "new" / "name.md").read_text() == table
    assert json.loads((tmp_path / "new" / "name.json").read_text()) == {"a": [1, 2]}
