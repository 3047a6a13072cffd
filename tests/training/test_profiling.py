import gzip
import json
from dataclasses import replace

import jax
import pytest

from lnln_jax.training.loop import train
from lnln_jax.training.profiling import memory_in_use
from tests.support.runs import CONFIG, read_metrics


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_a_trace_for_perfetto_and_tensorboard(tmp_path, capsys):
    config = replace(CONFIG, steps=8, log_every=4, steps_per_call=1)
    train(config, tmp_path / "run", profile_steps=3)
    (folder,) = (tmp_path / "run" / "profile" / "plugins" / "profile").iterdir()
    (xplane,) = folder.glob("*.xplane.pb")
    assert xplane.stat().st_size > 10_000
    with gzip.open(folder / "perfetto_trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    steps = [event["args"]["step_num"] for event in events if event.get("name") == "train"]
    assert sorted(steps) == ["2", "3", "4"]
    assert f"a trace of 3 steps is in {tmp_path / 'run' / 'profile'}\n" in capsys.readouterr().err
    assert all(row["train/host_memory_gib"] > 0.1 for row in read_metrics(tmp_path / "run"))


@pytest.mark.slow
def test_memory_of_a_device_that_tells():
    tells = jax.local_devices()[0].memory_stats() is not None
    assert memory_in_use().keys() == {"host_memory_gib", *(["device_peak_gib"] if tells else [])}
