"""The first pass, as it is told: every line is checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import click
import msgspec

from xmediameta.applying import checking
from xmediameta.applying.checking import Checked
from xmediameta.readers import Inputs, Reject
from xmediameta.text import counted, excerpt, printable

from .say import Reporter

_SHOWN: Final = 100
_SHOWN_SKIPPED: Final = 10


class Faults:
    """Tells every fault, up to a bound, and writes those that are skipped.

    Args:
        rejects: where invalid rows go that are to be skipped; None where they end the run.

    Attributes:
        invalid: rows.
        unreadable: files that could not be read to their end.
    """

    def __init__(self, reporter: Reporter, rejects: Rejects | None = None) -> None:
        self._reporter = reporter
        self._rejects = rejects
        self._shown = _SHOWN if rejects is None else _SHOWN_SKIPPED
        self.invalid = self.unreadable = 0

    def __call__(self, item: Reject) -> None:
        """Tell one."""
        if item.fatal:
            self.unreadable += 1
        else:
            self.invalid += 1
            if self._rejects is not None:
                self._rejects.write(item)
        if item.fatal or self.invalid <= self._shown:
            self._reporter.error(str(item))

    def close(self) -> None:
        """Tell how many more there were."""
        if self.invalid > self._shown:
            self._reporter.error(f"and {counted(self.invalid - self._shown, 'more invalid row')}")


def check(inputs: Inputs, reporter: Reporter, *, rejects: Rejects | None = None) -> Checked:
    """Read all rows once; tell every fault, up to a bound, and count them all.

    Args:
        rejects: where invalid rows go that are to be skipped; None where they end the run.
    """
    faults = Faults(reporter, rejects)
    checked = checking.check(inputs, faults)
    faults.close()
    if rejects is not None and rejects.names:
        names = ", ".join(map(printable, rejects.names))
        reporter.info(f"{counted(faults.invalid, 'invalid row')} set aside in {names}")
    return checked


class Rejects:
    """Writes invalid rows to JSONL, with what is wrong: beside each input as `NAME.rejects.jsonl`, or all to one file.

    Args:
        path: the one file, or None.
        inputs: names of the inputs, which are never written over.
    """

    def __init__(self, path: str | None, inputs: tuple[str, ...]) -> None:
        self._path = path
        self._inputs = inputs
        self._files: dict[str, IO[bytes]] = {}
        self._held = ExitStack()

    @property
    def names(self) -> tuple[str, ...]:
        """The files that were written."""
        return tuple(self._files)

    def write(self, reject: Reject) -> None:
        """Write one row.

        Raises:
            click.UsageError: the file cannot be written.
        """
        name = self._path if self._path is not None else f"{_beside(reject.file)}.rejects.jsonl"
        try:
            if name not in self._files:
                self._files[name] = self._held.enter_context(new_file(name, self._inputs, "the rejects"))
            self._files[name].write(msgspec.json.encode(_record(reject)) + b"\n")
        except OSError as error:
            raise click.UsageError(f"{name}: the rejects cannot be written: {error.strerror or error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def _beside(file: str) -> str:
    """Where what belongs to an input lies: beside it, or of a URI in the current folder."""
    return file.rstrip("/").rpartition("/")[2] or "input" if "://" in file else file


def new_file(name: str, inputs: tuple[str, ...], what: str) -> IO[bytes]:
    """A file opened for writing from its start.

    Raises:
        click.UsageError: it is one of the inputs.
        OSError: it cannot be opened.
    """
    refuse_input(name, inputs, what)
    return Path(name).open("w+b")


def refuse_input(name: str, inputs: tuple[str, ...], what: str) -> None:
    """Refuse to write over an input.

    Raises:
        click.UsageError: the file is one of the inputs.
    """
    path = Path(name)
    for given in inputs:
        if path.exists() and Path(given).exists() and path.samefile(given):
            raise click.UsageError(f"{name}: is an input, and {what} would be written over it")


def _record(reject: Reject) -> dict[str, Any]:
    raw = reject.raw
    return {
        "file": reject.file,
        "line": reject.line,
        "member": reject.member,
        "rule": reject.rule,
        # Bytes that are not UTF-8 are kept as \xNN: the record itself must be readable.
        "input": _plain(raw) if isinstance(raw, Mapping) else _text(raw),
    }


def _text(raw: bytes) -> str:
    raw = raw.rstrip(b"\r\n")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return excerpt(raw, len(raw))


def _plain(cells: Mapping[str, str]) -> dict[str, str]:
    return {
        header.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"): cell.encode(
            "utf-8", "surrogateescape"
        ).decode("utf-8", "backslashreplace")
        for header, cell in cells.items()
    }
