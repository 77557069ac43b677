"""`template`: an empty table with every column, to be filled in."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Final, Literal

import click

TemplateKind = Literal["xlsx", "csv"]

STDOUT: Final = "-"
_KINDS: Final[tuple[TemplateKind, ...]] = ("xlsx", "csv")


@click.command("template")
@click.option(
    "-o", "--output", metavar="PATH", default=STDOUT, help="A file, and not standard output; never one that is there."
)
@click.option("--format", "kind", type=click.Choice(_KINDS), help="By default what the name of --output says, or xlsx.")
def template_command(output: str, kind: TemplateKind | None) -> int:
    """Write a table to fill in, with a column for all that can be set: an Excel workbook, or CSV.

    Ids are text in the workbook, so that Excel does not round them.
    """
    from xmediameta.readers.template import template  # noqa: PLC0415 - --help does without

    chosen = _kind(output, kind)
    if output == STDOUT:
        if chosen == "xlsx" and sys.stdout.isatty():
            raise click.UsageError(
                "a workbook is no text for a terminal: name a file with --output updates.xlsx, or take --format csv"
            )
        sys.stdout.buffer.write(template(chosen))
        sys.stdout.buffer.flush()
        return 0
    _write(output, template(chosen))
    click.echo(f"{output}: fill it in, then type: xmediameta validate {shlex.quote(output)}", err=True)
    return 0


def _kind(output: str, given: TemplateKind | None) -> TemplateKind:
    """What to write.

    Raises:
        click.UsageError: the file's name says nothing, or something else.
    """
    if output == STDOUT:
        return given or "xlsx"
    ending = Path(output).suffix.lower().removeprefix(".")
    named: TemplateKind | None = "xlsx" if ending == "xlsx" else "csv" if ending == "csv" else None
    if named is None:
        raise click.UsageError(f"{output}: the name must end with .xlsx or .csv, so that it can be read")
    if given not in {None, named}:
        raise click.UsageError(f"{output}: the name says .{named}, and --format says {given}")
    return named


def _write(output: str, content: bytes) -> None:
    """Write a new file, whole or not at all.

    Raises:
        click.UsageError: it is there already.
        click.ClickException: it cannot be written.
    """
    path = Path(output)
    try:
        with path.open("xb") as file:
            try:
                file.write(content)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise click.UsageError(f"{output}: is there already, and is not written over; name another file") from None
    except OSError as error:
        raise click.ClickException(f"{output}: cannot be written: {error.strerror or error}") from None
