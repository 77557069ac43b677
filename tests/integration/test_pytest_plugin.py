"""The pytest plugin, in a pytest of its own, as a user has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.readme import environment

HEAD = """\
import pytest
from xmediameta import Client, Metadata

pytestmark = pytest.mark.asyncio
"""


def run(folder: Path, text: str, *options: str) -> tuple[int, str]:
    """A file of tests, in strict mode, as pytest-asyncio comes."""
    (folder / "test_mine.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    # looptime asks for the event loop before a test that needs none, which Python 3.12 and 3.13 do not like.
    quiet = ("-W", "error", "-W", "ignore:There is no current event loop:DeprecationWarning")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *quiet, *options]
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_each_test_has_a_sandbox_of_its_own(tmp_path: Path) -> None:
    text = """
@pytest.mark.parametrize("number", range(2))
async def test(number, xmediameta_sandbox):
    async with Client.from_env() as client:
        await client.create("1", Metadata.of(managed=True))
    assert xmediameta_sandbox.counts.requests == 1
    assert xmediameta_sandbox.received[0].number == 1
"""
    code, said = run(tmp_path, HEAD + text)
    assert code == 0, said


def test_an_option_that_there_is_not(tmp_path: Path) -> None:
    text = """
@pytest.mark.xmediameta(limits=3)
async def test(xmediameta_sandbox):
    pass
"""
    code, said = run(tmp_path, HEAD + text)
    assert code == 1
    assert "unexpected keyword argument 'limits'" in said


def test_it_is_listed_and_imports_nothing_until_it_is_used(tmp_path: Path) -> None:
    text = """
import sys


def test():
    assert "aiohttp" not in sys.modules
    assert "msgspec" not in sys.modules
"""
    code, said = run(tmp_path, text)
    assert code == 0, said
    _, said = run(tmp_path, text, "--fixtures", "-v")
    assert "xmediameta_sandbox" in said
    _, said = run(tmp_path, text, "--markers")
    assert "@pytest.mark.xmediameta(**options)" in said


def test_with_anyio_instead_of_pytest_asyncio(tmp_path: Path) -> None:
    pytest.importorskip("anyio")
    text = """\
import pytest
from xmediameta import Client, Metadata


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test(xmediameta_sandbox):
    async with Client.from_env() as client:
        await client.create("1", Metadata.of(managed=True))
    assert xmediameta_sandbox.counts.applied == 1
"""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pytest_asyncio'] = None\n")
    (tmp_path / "test_mine.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "anyio", "-p", "xmediameta.pytest_plugin"]
    env = environment() | {"PYTHONPATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
