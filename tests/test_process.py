import os
import signal
import threading

import pytest

from lnln_jax.process import exclusive, stop_signals


def test_a_folder_has_one_holder(tmp_path):
    folder = tmp_path / "a" / "run"
    with (
        exclusive(folder, "training"),
        pytest.raises(ValueError, match=r"another process is training in .*run"),
        exclusive(folder, "training"),
    ):
        pass
    with exclusive(folder, "training"):
        assert folder.is_dir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_request(number, capsys):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_signals("stopping after this step") as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
    assert f"{number.name}: stopping after this step" in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_interrupt_ends_at_once():
    with stop_signals("stopping after this step"):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_can_train_too():
    entered = []

    def run():
        with stop_signals("stopping after this step") as stop:
            entered.append(stop.requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert entered == [False]
