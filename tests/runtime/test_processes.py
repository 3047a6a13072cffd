import os
import signal
import subprocess
import sys
import threading

import pytest

from lnln_jax.runtime.processes import exclusive, stop_signals, try_lock, usable_cores


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


def test_a_lock_goes_with_the_process_that_holds_it(tmp_path):
    code = (
        "import sys, time; from lnln_jax.runtime.processes import try_lock; "
        "file = open(sys.argv[1], 'w'); print(try_lock(file), flush=True); time.sleep(600)"
    )
    path = tmp_path / "lock"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        with path.open("w") as file:
            assert not try_lock(file)
            process.kill()
            process.wait()
            assert try_lock(file)


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


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_of_the_affinity():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from lnln_jax.runtime.processes import usable_cores; print(usable_cores())"
    )
    assert run_python(code) == "1\n"
    assert 1 <= usable_cores() <= os.cpu_count()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is not enforced")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_memory_that_ulimit_allows(limit):
    code = (
        f"import resource as r; r.setrlimit(r.{limit}, (2**30, r.getrlimit(r.{limit})[1])); "
        "from lnln_jax.runtime.processes import available_memory, total_memory; "
        "print(available_memory(), total_memory())"
    )
    free, total = map(int, run_python(code).split())
    assert total == 2**30
    assert 2**28 < free < 2**30
