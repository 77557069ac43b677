"""Which journal a run is kept in, what it is called there, and whether its input has changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import click
from msgspec import Struct

from xmediameta.journal import journal_path
from xmediameta.readers import STDIN

from .options import X_API, ApplyOptions

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


def keeping(options: ApplyOptions, throw_away: Path) -> Keeping | None:
    """Where a run is kept; None for a run without a journal.

    Args:
        throw_away: where the journal of a sandbox lies, unless one is named.

    Raises:
        click.UsageError: options that need a journal, without one.
    """
    if options.journal == _NONE or (STDIN in options.files and options.run_name is None):
        why = "--journal none" if options.journal == _NONE else "standard input without --run NAME"
        for option, name in (
            (options.run_name, "--run"),
            (options.retry_failed, "--retry-failed"),
            (options.force, "--force"),
        ):
            if option:
                raise click.UsageError(f"{name} needs a journal, and there is none ({why})")
        return None
    if options.coalesce is not None:
        raise click.UsageError(
            "--coalesce goes with --journal none in this version: a journal sends each row in its turn"
        )
    name = options.run_name or _name(options)
    if options.sandbox and options.journal is None:
        return Keeping(path=throw_away / "journal.db", name=name, throw_away=True)
    return Keeping(path=journal_path(options.journal), name=name)


def fingerprint(options: ApplyOptions, names: tuple[str, ...]) -> str | None:
    """What tells whether an input has changed: its bytes, and how they are read. None for what cannot be read twice."""
    tag = hashlib.blake2b(digest_size=16)
    how = (options.kind, options.passed, sorted(options.renames.items()), options.strict, options.skip_invalid)
    tag.update(repr(how).encode())
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
    return tag.hexdigest()


def _name(options: ApplyOptions) -> str:
    """A run is called after its input, and after where it sends to unless that is X."""
    files = [name if "://" in name else os.path.abspath(name) for name in options.files]  # noqa: PTH100 - no symlinks followed
    name = " + ".join(files) or "the bundled sample"
    if options.sandbox:
        return f"{name} in a sandbox"
    return name if options.base_url.rstrip("/") == X_API else f"{name} to {options.base_url}"
