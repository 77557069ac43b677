"""Which journal a run is kept in, what it is called there, and whether its input has changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from xmediameta.errors import ConfigurationError
from xmediameta.journal import Journal, journal_path
from xmediameta.readers import STDIN, shown_name
from xmediameta.settings import X_API

from .order import Order

_NONE: Final = "none"
_PIECE: Final = 1 << 20


class Keeping(Struct, frozen=True, kw_only=True):
    """Where a run is kept.

    Attributes:
        path: of the journal.
        name: of the run.
        throw_away: whether the journal is removed afterwards.
    """

    path: Path
    name: str
    throw_away: bool = False


def keeping(order: Order, throw_away: Path | None = None) -> Keeping | None:
    """Where a run is kept; None for a run without a journal.

    Args:
        throw_away: where the journal of a sandbox lies, unless one is named.

    Raises:
        ConfigurationError: options that need a journal, without one.
    """
    if order.journal == _NONE or (STDIN in order.files and order.run_name is None):
        why = "--journal none" if order.journal == _NONE else "standard input without --run NAME"
        for option, name in (
            (order.run_name, "--run"),
            (order.retry_failed, "--retry-failed"),
            (order.force, "--force"),
        ):
            if option:
                raise ConfigurationError(f"{name} needs a journal, and there is none ({why})")
        return None
    name = order.run_name or _name(order)
    if throw_away is not None and order.sandbox and order.journal is None:
        return Keeping(path=throw_away / "journal.db", name=name, throw_away=True)
    return Keeping(path=journal_path(order.journal), name=name)


def fingerprint(order: Order, names: tuple[str, ...]) -> str | None:
    """What tells whether an input has changed: its bytes, and how they are read. None for what cannot be read twice."""
    tag = hashlib.blake2b(digest_size=16)
    how = (order.kind, order.passed, sorted(order.renames.items()), order.strict, order.skip_invalid)
    # Left out where it is not given, so that runs of before it was there go on.
    tag.update(repr(how if order.sheet is None else (*how, order.sheet)).encode())
    for name in names:
        if name == STDIN or "://" in name:
            return None
        path = Path(name)
        if not path.is_file():
            return None  # a pipe gives what it holds only once
        try:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    tag.update(piece)
        except OSError:
            return None
        tag.update(b"\0")
    return tag.hexdigest() if names else None


async def holds(order: Order, kept: Keeping, known: str | None) -> bool:
    """Whether the run holds this very input already, so that it was checked before; no journal is made.

    Skipped rows are told each time, so these inputs are read again.

    Args:
        known: the input's fingerprint.

    Raises:
        JournalError: the journal cannot be used.
    """
    if known is None or order.skip_invalid or not kept.path.is_file():
        return False
    async with await Journal.open(kept.path) as journal:
        run = await journal.run(kept.name)
    # Which rows were joined is a part of what is kept.
    return run is not None and run.fingerprint == (known if order.coalesce is None else f"{known} {order.coalesce}")


def _name(order: Order) -> str:
    """A run is called after its input, and after where it sends to unless that is X."""
    # No symbolic links are followed, and of a URI nothing secret is kept.
    files = [shown_name(name) if "://" in name else os.path.abspath(name) for name in order.files]  # noqa: PTH100
    name = " + ".join(files) or "the bundled sample"
    if order.sandbox:
        return f"{name} in a sandbox"
    return name if order.base_url.rstrip("/") == X_API else f"{name} to {order.base_url}"
