import os
import subprocess
import sys
from pathlib import Path

import pytest

from lnln_jax.runtime.control_groups import MemoryLimit, core_limit, memory_limits

GIB = 2**30
UNLIMITED = "9223372036854771712\n"  # of version 1


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def version_2(root: Path, groups: str, files: dict[str, str], *, mounted: str = "/") -> Path:
    mount = f"35 24 0:30 {mounted} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup rw\n"
    proc = {
        "proc/self/cgroup": f"0::{groups}\n",
        "proc/self/mountinfo": f"24 1 8:1 / / rw - ext4 /dev/sda rw\n{mount}",
    }
    return write(root, proc | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})


def version_1(root: Path, groups: str, files: dict[str, str], *, mounted: str = "/") -> Path:
    mounts = "".join(
        f"{number} 24 0:{number} {mounted} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
        for number, name in ((40, "memory"), (41, "cpu,cpuacct"))
    )
    lines = "".join(f"{n}:{name}:{groups}\n" for n, name in ((5, "memory"), (6, "cpu,cpuacct")))
    proc = {"proc/self/cgroup": lines + "0::/\n", "proc/self/mountinfo": mounts}
    return write(root, proc | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})


def rooms(root: Path) -> list[int]:
    return sorted(limit - used for limit, used in memory_limits(root))


def test_a_container_of_version_2(tmp_path):
    root = version_2(
        tmp_path,
        "/",
        {
            "memory.max": f"{2 * GIB}\n",
            "memory.high": "max\n",
            "memory.current": f"{GIB}\n",
            "memory.stat": f"anon 5\nfile 7\ninactive_file {GIB // 4}\nactive_file 1\n",
            "cpu.max": "150000 100000\n",
        },
    )
    assert memory_limits(root) == [MemoryLimit(2 * GIB, GIB - GIB // 4)]
    assert core_limit(root) == 1.5


def test_the_smallest_limit_of_nested_groups_counts(tmp_path):
    root = version_2(
        tmp_path,
        "/pod/box",
        {
            "pod/box/memory.max": "max\n",
            "pod/box/memory.high": f"{3 * GIB}\n",
            "pod/box/memory.current": f"{GIB}\n",
            "pod/box/cpu.max": "max 100000\n",
            "pod/memory.max": f"{4 * GIB}\n",
            "pod/memory.current": f"{3 * GIB}\n",
            "pod/cpu.max": "50000 100000\n",
            "cgroup.procs": "",
        },
    )
    assert rooms(root) == [GIB, 2 * GIB]
    assert core_limit(root) == 0.5


@pytest.mark.parametrize(
    ("groups", "mounted", "folder"),
    [
        ("/docker/0123", "/docker/0123", ""),  # the container sees its own group alone
        ("/docker/0123", "/", "docker/0123/"),
        ("/", "/docker/0123", ""),
        ("/../other", "/", ""),
        ("/a b", "/", "a b/"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_where_a_group_is_mounted(tmp_path, groups, mounted, folder, version):
    if version == 2:
        files = {f"{folder}memory.max": f"{GIB}\n", f"{folder}memory.current": "0\n"}
        root = version_2(tmp_path, groups, files, mounted=mounted)
    else:
        names = {"limit": f"{GIB}\n", "usage": "0\n"}
        files = {f"memory/{folder}memory.{key}_in_bytes": text for key, text in names.items()}
        root = version_1(tmp_path, groups, files, mounted=mounted)
    assert memory_limits(root) == [MemoryLimit(GIB, 0)]


def test_version_1(tmp_path):
    cpu = "cpu,cpuacct/box"
    root = version_1(
        tmp_path,
        "/box",
        {
            "memory/box/memory.limit_in_bytes": f"{2 * GIB}\n",
            "memory/box/memory.usage_in_bytes": f"{GIB}\n",
            "memory/box/memory.stat": f"cache 1\ninactive_file 5\ntotal_inactive_file {GIB // 2}\n",
            "memory/memory.limit_in_bytes": UNLIMITED,
            "memory/memory.usage_in_bytes": f"{9 * GIB}\n",
            f"{cpu}/cpu.cfs_quota_us": "300000\n",
            f"{cpu}/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert rooms(root)[0] == 2 * GIB - GIB // 2
    assert min(limit for limit, _ in memory_limits(root)) == 2 * GIB
    assert core_limit(root) == 3


def test_a_limit_of_groups_that_are_not_seen(tmp_path):
    root = version_1(
        tmp_path,
        "/",
        {
            "memory/memory.limit_in_bytes": UNLIMITED,
            "memory/memory.usage_in_bytes": "0\n",
            "memory/memory.stat": f"hierarchical_memory_limit {GIB}\n",
        },
    )
    assert rooms(root) == [GIB]


def test_other_systems_and_odd_files_limit_nothing(tmp_path):
    assert memory_limits(tmp_path) == []
    assert core_limit(tmp_path) is None
    proc = {"proc/self/cgroup": "\nnonsense\n0::\n", "proc/self/mountinfo": "\n1 2\n - cgroup2\n"}
    root = write(tmp_path, proc)
    assert memory_limits(root) == []
    assert core_limit(root) is None


GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(
    not os.access(GROUPS / "cgroup.procs", os.W_OK), reason="no control groups can be made here"
)
def test_a_process_in_a_group():
    group = GROUPS / f"lnln_test_{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(GIB))
        code = (
            f"open('{group}/cgroup.procs', 'w').write('0'); "
            "from lnln_jax.runtime.processes import available_memory, total_memory; "
            "print(available_memory(), total_memory())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        free, total = map(int, done.stdout.split())
        assert total == GIB
        assert GIB // 4 < free < GIB
    finally:
        group.rmdir()
