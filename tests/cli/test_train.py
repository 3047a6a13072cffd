"""`lnln train` as its users call it."""

from lnln_jax.cli import main
from tests.support.commands import fails
from tests.support.signals import signals_heard


def test_overrides_may_stand_anywhere(tmp_path, config, capsys):
    output = ["--output", tmp_path / "run"]
    for arguments in (
        [config, "steps=5", "data.batch_size=0", *output],
        [config, *output, "steps=5", "data.batch_size=0"],
        [config, "steps=5", *output, "data.batch_size=0"],
        [*output, config, "steps=5", "data.batch_size=0"],
        [*output, config, "steps=5", "--data.batch_size=0"],
    ):
        error = fails(capsys, "train", *arguments)
        assert error == "data.batch_size is 0; it must be larger than 0 and below 2**31"
    assert "data.train names nothing" in fails(capsys, "train", config, *output)
    assert not (tmp_path / "run").exists()


def test_train_goes_to_runs_by_default(tmp_path, config, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "experiment").write_text("in the way")
    small = ["model.n_resgroups=1", "model.n_resblocks=1"]
    data = ["data.dead_leaves=1", "data.dead_leaves_size=96"]
    error = fails(capsys, "train", config, *small, *data)
    assert "runs/experiment" in error


def test_a_config_by_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").write_text("in the way")
    small = ["model.n_resgroups=1", "model.n_resblocks=1", "data.dead_leaves=1"]
    assert "runs/quickstart" in fails(capsys, "train", "quickstart", *small)
    assert "; give a path, the folder of a training run, or one of the names" in fails(
        capsys, "train", "quickstop"
    )


def test_ctrl_c_is_no_traceback(tmp_path, capsys):
    interrupted = tmp_path / "interrupted.py"
    interrupted.write_text("import signal\n\nsignal.raise_signal(signal.SIGINT)\n")
    with signals_heard():
        assert main(["train", str(interrupted)]) == 130
    assert capsys.readouterr().err == "lnln: interrupted\n"
