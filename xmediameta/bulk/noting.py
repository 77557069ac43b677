"""What holds up a run on a journal, noted there for whoever looks at it later."""

from __future__ import annotations

from xmediameta.gate import Wait
from xmediameta.hooks import HookOptions, Hooks, Stopped
from xmediameta.journal import JournalRun, time_text


class Noting:
    """Listens to a client while it works on a run; other work of that client may wait for the same windows.

    Args:
        run: takes the notes.
        hooks: of the client.
    """

    __slots__ = ("_hooks", "_listeners", "_run")

    def __init__(self, run: JournalRun, hooks: Hooks) -> None:
        self._run = run
        self._hooks = hooks
        self._listeners: HookOptions = {"on_wait": self._waits, "on_stop": self._stopped}
        hooks.add(self._listeners)

    def end(self) -> None:
        """Listen no more."""
        self._hooks.remove(self._listeners)

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
