"""What a user installs: names, metadata, extras, and what is in the wheel and the sdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hatchling.build import build_sdist, build_wheel
from packaging.requirements import Requirement

import xmediameta

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Finds no click and no rich, as where the extra [cli] is not installed.
BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"click", "platformdirs", "rich", "uvloop"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.partition(".")[0] in {"click", "platformdirs", "rich", "uvloop"} else found(name, package)
)
sys.meta_path.insert(0, Absent())
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("XMEDIAMETA_", "PYTHON"))}
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)


def test_every_public_name_is_there() -> None:
    assert len(set(xmediameta.__all__)) == len(xmediameta.__all__)
    for name in xmediameta.__all__:
        assert getattr(xmediameta, name) is not None
    assert set(xmediameta.__all__) <= set(dir(xmediameta))


def test_public_names_are_those_that_are_loaded_lazily() -> None:
    code = """
import ast, pathlib, xmediameta
tree = ast.parse(pathlib.Path(xmediameta.__file__).read_text())
typed = {alias.asname: f"{node.module}.{alias.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
         and node.level == 1 for alias in node.names}
lazy = {name: f"{home}.{name}" for name, home in xmediameta._HOME.items()}
assert typed == lazy, set(typed.items()) ^ set(lazy.items())
assert set(lazy) == set(xmediameta.__all__), set(lazy) ^ set(xmediameta.__all__)
print(len(lazy))
"""
    ended = python(code)
    assert ended.stderr == ""
    assert int(ended.stdout) == len(xmediameta.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Batchr"):
        _ = xmediameta.Batchr  # type: ignore[attr-defined]


def test_public_classes_say_that_they_are_of_the_package() -> None:
    for name in xmediameta.__all__:
        kind = getattr(xmediameta, name)
        if isinstance(kind, type) and issubclass(kind, xmediameta.XMediaMetaError):
            assert kind.__module__ == "xmediameta"


def test_importing_the_package_brings_nothing_heavy() -> None:
    ended = python(
        "import sys, xmediameta; print([name for name in ('aiohttp', 'msgspec', 'tenacity', 'asyncio', 'click', 'rich')"
        " if name in sys.modules])"
    )
    assert ended.stdout == "[]\n", ended.stderr


def test_without_extras_the_library_works() -> None:
    code = """
import asyncio, xmediameta
for name in xmediameta.__all__:
    getattr(xmediameta, name)
async def main():
    async with xmediameta.Sandbox() as sandbox, xmediameta.Client("TOKEN", base_url=sandbox.url) as client:
        await client.create("1", xmediameta.Metadata.of(alt_text="A dancing cat"))
    print(sandbox.applied["1"])
asyncio.run(main())
"""
    ended = python(BARE + code)
    assert ended.stderr == ""
    assert ended.stdout == "{'alt_text': {'text': 'A dancing cat'}}\n"


@pytest.mark.parametrize("arguments", [["apply", "--sandbox"], ["--version"], ["--help"], []])
def test_without_the_extra_the_command_names_it(arguments: list[str]) -> None:
    ended = python(BARE + "from xmediameta.cli import main; sys.exit(main(sys.argv[1:]))", *arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "pip install 'xmediameta[cli]'" in ended.stderr


def test_the_version_stands_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", xmediameta.__version__)
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "xmediameta/__init__.py"
    places = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "xmediameta").rglob("*.py")
        if re.search(rf"\b{re.escape(xmediameta.__version__)}\b", path.read_text())
    ]
    assert places == ["xmediameta/__init__.py"]
    ended = python("import sys; from xmediameta.cli import main; sys.exit(main(['--version']))")
    assert ended.stdout == f"xmediameta {xmediameta.__version__}\n"
    assert version("xmediameta") == xmediameta.__version__


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).parent / "xmediameta"
    ended = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout == f"xmediameta {xmediameta.__version__}\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        return folder / build_wheel(str(folder)), folder / build_sdist(str(folder))
    finally:
        os.chdir(before)


def metadata_of(wheel: Path) -> tuple[str, str]:
    """The fields of a wheel's metadata, and its description."""
    with zipfile.ZipFile(wheel) as opened:
        text = opened.read(f"xmediameta-{xmediameta.__version__}.dist-info/METADATA").decode()
    head, _, described = text.partition("\n\n")
    return head, described


def test_what_is_in_the_wheel(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
        info = f"xmediameta-{xmediameta.__version__}.dist-info"
        entry_points = wheel.read(f"{info}/entry_points.txt").decode()
        licences = [wheel.read(name).decode() for name in names if name.endswith("LICENSE")]
    assert {"xmediameta/py.typed", "xmediameta/LICENSE", "xmediameta/cli/sample.jsonl"} <= names
    assert {name.partition("/")[0] for name in names} == {"xmediameta", info}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "xmediameta").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources
    head, described = metadata_of(built[0])
    fields = {"License-Expression: MIT", "Requires-Python: >=3.11", "Description-Content-Type: text/markdown"}
    assert fields <= set(head.splitlines())
    assert described == (ROOT / "README.md").read_text()
    assert len(licences) == 2
    assert all(text.startswith("MIT License\n") and "THE SOFTWARE IS PROVIDED" in text for text in licences)
    assert "xmediameta = xmediameta.cli:main" in entry_points


def test_what_is_in_the_sdist(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    expected = {"README.md", "CHANGELOG.md", "pyproject.toml", ".ci/run", "tests/constraints.txt", "tests/conftest.py"}
    assert expected <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", ".git/"))]


def test_extras(built: tuple[Path, Path]) -> None:
    head, _ = metadata_of(built[0])
    listed = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.+)$", head, re.MULTILINE)]
    plain = {one.name for one in listed if one.marker is None or "extra" not in str(one.marker)}
    assert plain == {"aiohttp", "aiolimiter", "msgspec", "tenacity"}
    brought = {
        extra: {one.name for one in listed if one.marker and one.marker.evaluate({"extra": extra})}
        for extra in re.findall(r"^Provides-Extra: (.+)$", head, re.MULTILINE)
    }
    assert {"click", "platformdirs", "rich", "uvloop"} <= brought["cli"]
    assert brought["speed"] == {"uvloop"}
    own = {"all", "lint", "test"}
    assert brought["all"] == set().union(*(names for extra, names in brought.items() if extra not in own))


def test_bounds_are_loose_and_pins_are_exact() -> None:
    project = PYPROJECT["project"]
    loose = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    lines = (ROOT / "tests" / "constraints.txt").read_text().splitlines()
    pins = {}
    for line in lines:
        if not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\d+(?:\.\w+)*)", line)
            assert match is not None, line
            pins[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    for requirement in (*map(Requirement, loose), *map(Requirement, PYPROJECT["build-system"]["requires"])):
        if requirement.name != "xmediameta":
            assert "==" not in str(requirement.specifier)
            pinned = pins[re.sub(r"[-_.]+", "-", requirement.name).lower()]
            assert requirement.specifier.contains(pinned), requirement


def test_the_top_level_holds_what_it_may() -> None:
    top = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert top - ignored <= {"pyproject.toml", "README.md", "xmediameta", "tests", "benchmarks", "CHANGELOG.md"}
