"""What a row's problem says, read from the journal, and problems of one kind put together.

A journal keeps an RFC 9457 problem, the member and rule of an invalid row, or a message. What a server said is
untrusted: it is bounded and escaped here, and the number of kinds is bounded as well.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from xmediameta import errors
from xmediameta.journal import State, TaskRecord
from xmediameta.problems import Problem, as_object, phrase, read_problem
from xmediameta.text import printable

TROUBLED: Final[tuple[State, ...]] = ("failed", "expired", "invalid")
_LONGEST: Final = 1_000
_MOST_KINDS: Final = 200
_OTHER: Final = "other problems"
_BY_SCOPE: Final = {
    "update": "Sent again as they are, they fail again. Correct the rows, then run the same command.",
    "retry": "It may have passed: run the same command with --retry-failed.",
}


class Said(Struct, frozen=True, gc=False):
    """What is known of why a row was not applied; safe to show.

    Attributes:
        kind: the last part of the problem's type, its title, the invalid member, or the error's name.
        text: the whole of it, on one line; may be empty.
    """

    kind: str
    text: str


class Example(Struct, frozen=True, gc=False, kw_only=True):
    """The first row that met a problem; safe to show."""

    source: str | None
    id: str
    account: str | None
    ref: str | int | None
    text: str

    def where(self) -> str:
        """`updates.csv:3, media 1146, ref r3`."""
        named = [self.source or "", f"media {self.id}" if self.id else ""]
        named += [f"account {self.account}"] if self.account else []
        named += [f"ref {self.ref}"] if self.ref is not None else []
        return ", ".join(part for part in named if part)


class ProblemGroup(Struct, kw_only=True):
    """Rows that met the same kind of problem.

    Attributes:
        state: `failed`, `expired` or `invalid`.
        status: HTTP, or None.
        error: the class of the error, or None.
        advice: what a person can do, or an empty text.
    """

    kind: str
    state: State
    status: int | None
    error: str | None
    rows: int
    example: Example
    advice: str

    @property
    def title(self) -> str:
        """`400 invalid-request`."""
        return self.kind if self.status is None else f"{self.status} {self.kind}"


class Problems:
    """Gathers problems by kind."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, int | None, str | None], ProblemGroup] = {}

    def add(self, row: TaskRecord) -> None:
        """Count a row, if it is one that was not applied and will not be."""
        if row.state not in TROUBLED:
            return
        said = read_said(row)
        kind, status, error = said.kind, row.status, row.error
        if (row.state, kind, status, error) not in self._groups and len(self._groups) >= _MOST_KINDS:
            kind, status, error = _OTHER, None, None
        group = self._groups.get((row.state, kind, status, error))
        if group is not None:
            group.rows += 1
            return
        self._groups[row.state, kind, status, error] = ProblemGroup(
            kind=kind, state=row.state, status=status, error=error, rows=1, example=example(row), advice=_advice(row)
        )

    def groups(self) -> list[ProblemGroup]:
        """The most frequent first."""
        return sorted(self._groups.values(), key=lambda group: -group.rows)


def example(row: TaskRecord) -> Example:
    """A row as an example, safe to show."""
    return Example(
        source=None if row.source is None else printable(row.source, 300),
        id=printable(row.id, 100),
        account=None if row.account is None else printable(row.account, 100),
        ref=printable(row.ref, 200) if isinstance(row.ref, str) else row.ref,
        text=read_said(row).text,
    )


def read_said(row: TaskRecord) -> Said:
    """What the journal says about a row; empty for one that is well or pending. Never raises."""
    if row.state == "expired":
        return Said("send_before had passed", "send_before had passed before its turn came")
    if row.problem is None:
        return Said(printable(row.error or "", 100) or _blank(row.status), phrase(row.status) if row.status else "")
    found = _plain(row.problem)
    plain = as_object(found)
    if "rule" in plain:
        member, rule = (printable(str(plain.get(name) or ""), _LONGEST) for name in ("member", "rule"))
        return Said(f"invalid {member or 'line'}"[:200], f"{member}: {rule}" if member else rule)
    if plain:
        problem = read_problem(row.status or 0, {}, row.problem.encode("utf-8", "replace"))
        # The journal keeps what is no member of the RFC under `extensions`, as the struct has it.
        listed = as_object(problem.extensions.get("extensions"))
        text = msgspec.structs.replace(problem, extensions={**problem.extensions, **listed}).said()
        kind = problem.slug or problem.title or row.error or _blank(row.status)
        return Said(printable(kind, 100), text)
    text = printable(str(found), _LONGEST)
    return Said(printable(row.error or "", 100) or _blank(row.status), text)


def _plain(text: str) -> Any:
    """The JSON, or the text itself where it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return text


def _blank(status: int | None) -> str:
    return (phrase(status) if status else "") or "no reason recorded"


def _advice(row: TaskRecord) -> str:
    if row.state == "expired":
        return "They were too late. Upload the media again, or allow a later send_before."
    if row.state == "invalid":
        return "Correct the rows, then run the same command again."
    kind = getattr(errors, row.error or "", None)
    if not (isinstance(kind, type) and issubclass(kind, errors.XMediaMetaError)):
        return ""
    advice: object = getattr(kind, "advice", None)
    if issubclass(kind, errors.ProblemError):  # of some it depends on the status
        advice = kind(row.status or 0, Problem()).advice
    return (advice if isinstance(advice, str) else "") or _BY_SCOPE.get(kind.scope, "")
