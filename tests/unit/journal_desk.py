"""A journal's engine at hand for tests, without a thread: loads, begins, draws and finishes at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from xmediameta.coalesce import Coalesce
from xmediameta.journal import Drawn, Finished, Incoming, Loaded, RunRecord, State
from xmediameta.journal.schema import NEVER
from xmediameta.journal.store import Store
from xmediameta.journal.work import Work
from xmediameta.models import Metadata, Update
from xmediameta.wire import encode

URL = "https://api.x.com"
START = (-NEVER, -1)


def row(
    media_id: int | str,
    text: str,
    *,
    account: str | None = None,
    ref: str | int | None = None,
    send_before: float | None = None,
    source: str | None = None,
    passed: dict[str, object] | None = None,
) -> Incoming:
    """One valid row."""
    update = Update(str(media_id), Metadata.of(alt_text=text), account, ref, send_before)
    return Incoming(update=update, body=encode(update), source=source, passed=passed)


def bad(media_id: str = "x", rule: str = "must be digits", ref: str | None = None) -> Incoming:
    """One row that is no update."""
    return Incoming(update=Update(media_id, ref=ref), body=None, fault=("id", rule))


def text_of(task: Drawn) -> str:
    """What it would set."""
    metadata = task.update.metadata
    assert isinstance(metadata, Metadata)
    assert metadata.alt_text
    return metadata.alt_text.text


class Desk:
    """One sitting after another on one journal file."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self.record: RunRecord
        self.work: Work
        self.loaded: Loaded

    def load(
        self,
        rows: Iterable[Incoming],
        *,
        name: str = "run",
        url: str = URL,
        fingerprint: str | None = None,
        piece: int = 3,
        coalesce: Coalesce = None,
    ) -> Loaded:
        """Load an input, in small pieces."""
        loading = self.store.load(name, url, fingerprint, lambda: False, coalesce)
        if isinstance(loading, Loaded):
            return loading
        given = list(rows)
        for start in range(0, len(given), piece):
            loading.add(given[start : start + piece])
        return loading.finish(fingerprint)

    def start(
        self,
        rows: Iterable[Incoming] = (),
        *,
        name: str = "run",
        url: str = URL,
        fingerprint: str | None = None,
        force: bool = False,
        retry_failed: bool = False,
        coalesce: Coalesce = None,
    ) -> Loaded:
        """Load and begin, as `Journal.start` does."""
        known = self.store.run(name)
        self.loaded = self.load(rows, name=name, url=url, fingerprint=fingerprint, coalesce=coalesce)
        anew = known is not None and not self.loaded.resumed
        self.record, self.work = self.store.begin(
            name, force=force, retry_failed=retry_failed, anew=anew, stopped=lambda: False, work=Work
        )
        return self.loaded

    def draw(self, most: int = 1000, *, account: str = "", size: int = 2) -> list[Drawn]:
        """Draw up to so many tasks of an account, a few at a time."""
        drawn: list[Drawn] = []
        after = START
        while len(drawn) < most:
            tasks = self.work.draw(account, after, min(size, most - len(drawn)))
            if not tasks:
                break
            drawn += tasks
            after = tasks[-1].due, tasks[-1].seq
        return drawn

    def finish(self, *tasks: Drawn, state: State = "applied", maybe: bool = False) -> None:
        """End tasks alike, in one commit."""
        self.work.finish([Finished(task=task, state=state, attempts=1, maybe_applied=maybe) for task in tasks], 0, 0)

    def end(self, *left: Drawn, stopped: str | None = None) -> None:
        """Let the run go; `left` was drawn and never sent."""
        self.work.end(left, stopped, 0, 0)

    def apply(
        self,
        *rows: Incoming,
        most: int = 1000,
        name: str = "run",
        url: str = URL,
        force: bool = False,
        retry_failed: bool = False,
        coalesce: Coalesce = None,
    ) -> list[str]:
        """A sitting that applies up to so many tasks of rows without an account; returns what was sent, in order."""
        self.start(rows, name=name, url=url, force=force, retry_failed=retry_failed, coalesce=coalesce)
        sent = self.draw(most)
        self.finish(*sent)
        self.end()
        return [shown(task) for task in sent]

    def waiting(self, *, account: str = "") -> list[str]:
        """What would be drawn now."""
        tasks = self.draw(account=account)
        self.end(*tasks)
        return [shown(task) for task in tasks]

    @property
    def states(self) -> list[str]:
        """The states of all rows of the run that was begun last, in the order of the input."""
        return [task.state for task in self.store.tasks(self.record.load, -1, 1000)]

    def known(self, media_id: int | str, *, url: str = URL, account: str = "") -> bool | None:
        """Whether it is sure what a media was last sent; None where nothing was."""
        row = self.store._file.db.execute(
            "SELECT unsure = 0 FROM sent JOIN account USING (account) JOIN place USING (place)"
            " WHERE base_url = ? AND name = ? AND media_id = ?",
            (url, account, str(media_id)),
        ).fetchone()
        return None if row is None else bool(row[0])


def shown(task: Drawn) -> str:
    """`id:text`, and `+n` for those that share it."""
    return f"{task.update.id}:{text_of(task)}" + (f"+{len(task.followers)}" if task.followers else "")
