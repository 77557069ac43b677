"""Finding a run in a journal that is there already: nothing is made, and a name that is not known gets a suggestion."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import click

from xmediameta.address import is_loopback
from xmediameta.errors import JournalError
from xmediameta.journal import Journal, RunRecord, journal_path
from xmediameta.journal.lock import RunLock
from xmediameta.text import printable

_MOST_NAMED: Final = 10


@asynccontextmanager
async def stored(path: str | None) -> AsyncGenerator[Journal]:
    """The journal at a path, or the person's own.

    Raises:
        click.ClickException: there is none, or it cannot be read.
    """
    if path == "none":
        raise click.UsageError("--journal none: a run without a journal leaves nothing to look at")
    try:
        where = journal_path(path)
        if not where.exists():
            raise click.ClickException(
                f"there is no journal at {printable(str(where))}: no run was made with it yet; "
                "another is named with --journal PATH or XMEDIAMETA_JOURNAL"
            )
        async with await Journal.open(where) as journal:
            yield journal
    except JournalError as error:
        raise click.ClickException(error.message) from None


async def chosen(journal: Journal, name: str | None) -> RunRecord:
    """The run of that name, or the last one.

    Raises:
        click.ClickException: there is no such run.
    """
    record = await journal.run(name)
    if record is not None:
        return record
    names = [run.name for run in await journal.runs()]
    where = printable(str(journal.path))
    if name is None or not names:
        raise click.ClickException(f"the journal {where} holds no run yet")
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        hint = "did you mean " + " or ".join(_shown(other) for other in close) + "?"
    else:
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        hint = "it holds " + ", ".join(_shown(other) for other in names[:_MOST_NAMED]) + more
    raise click.ClickException(f"there is no run {_shown(name)} in {where}; {hint}")


def under_way(journal: Journal, record: RunRecord) -> bool:
    """Whether a process holds the run now."""
    path = RunLock(journal.path.resolve(), record.name).path
    if not path.exists():
        return False
    # Only looked at, and not taken: whoever begins a run at this moment must not be refused for it.
    try:
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.0)
    except sqlite3.Error:
        return False
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    finally:
        db.close()
    return False


def local(record: RunRecord) -> bool:
    """Whether a run goes to a server on this machine; that of `--sandbox` has no address in a journal."""
    return record.base_url == "sandbox" or is_loopback(record.base_url)


def _shown(name: str) -> str:
    return repr(printable(name, 200))
