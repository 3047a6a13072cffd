"""The rooms of the package: who may import whom, and how large a file and a function may be."""

import ast
import functools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.checkout import ROOT

# From the ground up: a room imports those before it, and itself.
ROOMS = (
    "runtime",
    "kernels",
    "images",
    "models",
    "data",
    "config",
    "weights",
    "inference",
    "evaluation",
    "training",
    "doctor",
    "cli",
)
APART = ("torch_reference",)  # knows nothing of JAX, and only tests and scripts import it
PUBLIC = ("pretrained.py", "torch_port.py")  # public names of modules of `weights`
DATA_PREPARATION = "lnln_jax.data.prepare"
ORBAX = {"lnln_jax.training.checkpoints", "lnln_jax.weights.runs"}
TORCH: set[str] = set()  # only what stands apart
LINES, LINES_OF_FUNCTION = 300, 60
MOST_ROOMS, MOST_FLOORS = 20, 11


class Import(NamedTuple):
    """An import, wherever it stands in a module."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: {self.imported}"


@functools.cache
def modules() -> dict[str, ast.Module]:
    """All modules of the package by their full names."""
    found = {}
    for path in sorted((ROOT / "lnln_jax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text("utf-8"))
    return found


def names_in(node: ast.AST) -> Iterator[str]:
    """What a node imports; for `from a import b`, the module `a.b` if there is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in modules() else str(node.module)


@functools.cache
def imports() -> list[Import]:
    return [
        Import(module, name, node.lineno)
        for module, tree in modules().items()
        for node in ast.walk(tree)
        for name in names_in(node)
    ]


def room(module: str) -> str | None:
    """The room of a module of the package; None for those beside the rooms, and for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "lnln_jax" and len(parts) > 1 else None


def between_rooms() -> list[tuple[Import, str, str]]:
    found = [(i, room(i.importer), room(i.imported)) for i in imports()]
    return [(i, a, b) for i, a, b in found if a in ROOMS and b in ROOMS and a != b]


def cycles(arrows: dict[str, set[str]]) -> set[str]:
    """The nodes that can be reached from themselves."""

    def reached(start: str) -> set[str]:
        seen, left = set(), [start]
        while left:
            new = arrows.get(left.pop(), set()) - seen
            seen |= new
            left += new
        return seen

    return {node for node in arrows if node in reached(node)}


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in (ROOT / "lnln_jax").glob("*/__init__.py")}
    assert folders == {*ROOMS, *APART}
    assert len(folders) <= MOST_ROOMS
    beside = {path.name for path in (ROOT / "lnln_jax").glob("*.py")}
    assert beside == {"__init__.py", "__main__.py", "version.py", *PUBLIC}


def test_arrows_point_down():
    upward = [str(i) for i, a, b in between_rooms() if ROOMS.index(b) > ROOMS.index(a)]
    assert upward == []


def test_no_circle_of_modules():
    arrows: dict[str, set[str]] = {}
    for i in imports():
        # A package's __init__ that re-exports what its own modules have is no circle.
        if room(i.importer) and room(i.imported) and not i.importer.startswith(f"{i.imported}."):
            arrows.setdefault(i.importer, set()).add(i.imported)
    assert cycles(arrows) == set()


def test_floors():
    arrows: dict[str, set[str]] = {name: set() for name in ROOMS}
    for _, a, b in between_rooms():
        arrows[a].add(b)

    @functools.cache
    def floor(name: str) -> int:
        return 1 + max((floor(below) for below in arrows[name]), default=0)

    assert max(map(floor, ROOMS)) <= MOST_FLOORS


def test_only_these_import_orbax_and_torch():
    for package, allowed in (("orbax", ORBAX), ("torch", TORCH)):
        users = {i.importer for i in imports() if i.imported.split(".")[0] == package}
        users -= {name for name in users if room(name) in APART}
        assert users <= allowed, package


def test_the_reference_in_pytorch_stands_apart():
    for i in imports():
        if room(i.imported) in APART:
            assert room(i.importer) in APART, i
        if room(i.importer) in APART:
            assert i.imported.split(".")[0] != "jax", i


def test_networks_see_no_configuration():
    """`models` takes keyword arguments; only it and `kernels` know how networks compute."""
    for i in imports():
        if room(i.importer) in ("models", "kernels"):
            assert room(i.imported) not in ("config", "data"), i


def test_training_never_enters_the_preparation_of_data():
    for i in imports():
        if i.imported.startswith(DATA_PREPARATION):
            above = i.importer.startswith((DATA_PREPARATION, "lnln_jax.cli"))
            assert above, i


@pytest.mark.parametrize("folder", ["lnln_jax", "scripts", "configs"])
def test_files_and_functions_are_short(folder):
    long = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text("utf-8")
        if (lines := len(text.splitlines())) > LINES:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > LINES_OF_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}, {node.name}: {lines} lines")
    assert long == []


def test_tests_mirror_the_rooms():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    assert folders == {*ROOMS, *APART, "scripts", "support"}
