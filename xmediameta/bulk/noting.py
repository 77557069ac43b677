"""What holds up a run on a journal and what it spends, noted there for whoever looks at it later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from xmediameta.accounts import Accounts
from xmediameta.gate import Wait
from xmediameta.hooks import HookOptions, Hooks, Stopped
from xmediameta.journal import JournalRun, time_text
from xmediameta.windows import NOMINAL

# Windows that are open at the end are noted of so many accounts; a journal keeps some thousand events of a run.
_MOST_OPEN: Final = 100


class Noting:
    """Listens to a client while it works on a run; other work of that client may share its windows.

    Args:
        run: takes the notes.
        accounts, hooks: of the client.
    """

    __slots__ = ("_accounts", "_hooks", "_listeners", "_run")

    def __init__(self, run: JournalRun, accounts: Accounts, hooks: Hooks) -> None:
        self._run = run
        self._accounts = accounts
        self._hooks = hooks
        self._listeners: HookOptions = {"on_wait": self._waits, "on_stop": self._stopped}
        hooks.add(self._listeners)
        run.windows = self._remembered

    def end(self) -> None:
        """Listen no more."""
        self._hooks.remove(self._listeners)
        if len(self._run.accounts) <= _MOST_OPEN:
            self._note_windows(self._run.accounts, present=True)

    def _remembered(self, names: Iterable[str | None]) -> Mapping[str, str]:
        self._note_windows(names)
        return self._accounts.remembered(names)

    def _note_windows(self, names: Iterable[str | None], *, present: bool = False) -> None:
        for owner, spent, ended in self._accounts.spent(names, present=present):
            note = self._run.note if present else self._run.note_along
            note(
                "window",
                owner,
                window=spent.name,
                opened=time_text(ended - NOMINAL[spent.name]),
                closed=time_text(ended),
                limit=spent.limit,
                sent=spent.sent,
                used=spent.used,
            )

    def _waits(self, wait: Wait) -> None:
        if wait.account in self._run.accounts:
            self._run.note("wait", wait.account, window=wait.window, until=time_text(wait.reset_at))

    def _stopped(self, stopped: Stopped) -> None:
        if stopped.account in self._run.accounts or stopped.all_of_its_app:
            error = stopped.error
            self._run.note(
                "stop",
                stopped.account,
                reason=type(error).__name__,
                message=error.message,
                action=error.advice,
                all_of_its_app=stopped.all_of_its_app,
            )
