"""The README's fenced blocks and tables, and how a block is run."""

from __future__ import annotations

import ast
import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

import xmediameta

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


@dataclass(frozen=True)
class Block:
    """One fenced block: ```` ```language name ````."""

    language: str
    name: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.language} {self.name}".strip()


def tree(path: Path = README) -> SyntaxTreeNode:
    return SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(path.read_text()))


def blocks() -> list[Block]:
    found = []
    for node in tree().walk():
        if node.type in {"fence", "code_block"}:
            language, _, name = node.info.partition(" ")
            found.append(Block(language, name.strip(), node.content, (node.map or (0, 0))[0] + 1))
    return found


def block(language: str, name: str) -> Block:
    """The one block of a language and a name."""
    (found,) = (one for one in blocks() if (one.language, one.name) == (language, name))
    return found


def table(heading: str, number: int = 0) -> list[list[str]]:
    """The body of a table below a heading, by its number from 0, without its backticks."""
    below, seen = False, 0
    for node in tree().children:
        if node.type == "heading":
            below = _text(node) == heading
        elif below and node.type == "table":
            seen += 1
            if seen <= number:
                continue
            return [[_text(cell) for cell in row.children] for row in node.children[-1].children]
    raise AssertionError(f"no table under {heading!r}")


def headings() -> list[str]:
    return [_text(node) for node in tree().children if node.type == "heading"]


def links() -> list[str]:
    return [str(node.attrs["href"]) for node in tree().walk() if node.type == "link"]


def _text(node: SyntaxTreeNode) -> str:
    if node.type in {"text", "code_inline"}:
        return node.content
    return "".join(_text(child) for child in node.children)


async def run_python(shown: Block, **names: object) -> dict[str, Any]:
    """Run a block as the body of a coroutine, with the public names of the package; returns what it defined."""
    space: dict[str, Any] = {name: getattr(xmediameta, name) for name in xmediameta.__all__} | names
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile("\n" * shown.line + shown.text, str(README), "exec", flags=flags, dont_inherit=True)
    running = eval(code, space)
    if code.co_flags & CO_COROUTINE:
        await running
    return space


@dataclass(frozen=True)
class Ended:
    """What a process said."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """What a process finds: `xmediameta` and `python` are those of the tests, and nothing is set for the command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XMEDIAMETA_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{clean.get('PATH', '')}"
    return clean | {"PATH": path, "PYTHONWARNINGS": "error"}


async def run_shell(
    shown: Block | str, folder: Path, env: Mapping[str, str] | None = None, *, given: str | None = None
) -> Ended:
    """Run a block with bash in a folder."""
    text = shown if isinstance(shown, str) else shown.text
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", text,
        cwd=folder, env=environment() | {"XDG_STATE_HOME": str(folder / "state")} | dict(env or {}),
        stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate(None if given is None else given.encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, out.decode(), err.decode())
