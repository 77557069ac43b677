"""The command, run in this process against a real sandbox in a thread beside it."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xmediameta.cli import main
from xmediameta.sandbox import Sandbox

TOKEN = "canary-7f3a-never-shown"
GOOD = '{"id":"%d","metadata":{"alt_text":{"text":"a cat"}},"ref":"r%d"}\n'


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on the last line of standard output."""
        return json.loads(self.out.splitlines()[-1])


@contextmanager
def sandbox_in_thread(**options: Any) -> Iterator[Sandbox]:
    """A sandbox that serves from a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox(**options)
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(10)
        yield sandbox
    finally:
        asyncio.run_coroutine_threadsafe(sandbox.close(), loop).result(10)
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes; all end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(sandbox_in_thread(**options))


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, and a clean environment with a token.

    Processes that a test starts inherit it: what is sent by mistake reaches nobody, and journals lie in a folder of
    the test's own.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XMEDIAMETA_ASK_ABOVE", raising=False)
    monkeypatch.setenv("XMEDIAMETA_BASE_URL", "https://nowhere.invalid")
    monkeypatch.setenv("XMEDIAMETA_ACCOUNTS", str(tmp_path_factory.mktemp("accounts")))
    for name in ("XMEDIAMETA_CLIENT_ID", "XMEDIAMETA_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XMEDIAMETA_JOURNAL", str(tmp_path_factory.mktemp("kept") / "journal.db"))
    monkeypatch.setenv("XMEDIAMETA_TOKEN", TOKEN)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def run(folder: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`run("apply", "a.jsonl", stdin=b"…")`; whatever is run, the token is never shown."""

    def command(*argv: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfdbinary.readouterr()
        code = main([str(argument) for argument in argv])
        out, err = (stream.decode() for stream in capfdbinary.readouterr())
        assert TOKEN not in out + err
        return Ran(code, out, err)

    return command


def rows(number: int, first: int = 1) -> str:
    """Lines of JSONL with ids and refs counted up."""
    return "".join(GOOD % (index, index) for index in range(first, first + number))


def records(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.005)
