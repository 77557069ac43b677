"""The command line itself: commands, options, exit codes. What a command does is imported when it runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from xmediameta import __version__
from xmediameta.applying.order import Order
from xmediameta.shortform import SHORT_FORMS

from . import connecting, looking
from .options import (
    ApplyOptions,
    Connection,
    Duration,
    Outage,
    Pair,
    as_renames,
    connection,
    reading,
    sending,
    telling,
)

# Names of options that `set` shows, where the name alone says too little.
_HELP = {
    "alt_text": "What screen readers speak, at most 1,000 characters.",
    "allowed_countries": "Two-letter codes, separated by |; the other list is sent empty.",
    "blocked_countries": "Two-letter codes, separated by |; the other list is sent empty.",
    "allowed_domains": "Domains, separated by |.",
    "content_expires_at": "A time with its zone, or Unix seconds.",
    "creator_subscriptions": "Any.",
    "x_subscriptions": "Any.",
    "stickers": "A JSON list of 1 to 25 stickers.",
    "origin_provider": "At most 8 characters; goes with --origin-id.",
    "origin_id": "At most 24 characters; goes with --origin-provider.",
}
_FLAGS = ("allow_download", "adult_content", "graphic_violence", "other_sensitive", "managed", "shared")


class _Terminated(SystemExit):
    """SIGTERM, before or after the part of a run that ends in order by itself.

    A SystemExit, since asyncio lets nothing but that and KeyboardInterrupt out of a callback in which it was raised.
    """


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 all applied; 1 some failed; 2 usage or input, nothing sent; 3 stopped early, goes on by "
    "itself; 4 stopped early, a person must act; 130 and 143 interrupted.",
)
@click.version_option(__version__, prog_name="xmediameta", message="%(prog)s %(version)s")
def cli() -> None:
    """Set metadata (alt text, warnings, restrictions) on media uploaded to X."""


def _of_a_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments and options that `apply` and `plan` have in common: one command line does for both."""
    account = click.option(
        "--account",
        type=Pair("NAME=FILE|env:VAR"),
        multiple=True,
        help="The token of an account that rows name: a file, or an environment variable. May be repeated.",
    )
    files = click.argument("files", nargs=-1, metavar="[FILE]...")
    return files(connection(account(reading(sending(telling(command))))))


@cli.command("apply")
@_of_a_run
def apply_command(**given: Any) -> int:
    """Send the updates of files: JSONL, CSV, workbooks or Parquet; - is standard input.

    Everything is checked before anything is sent. With --sandbox and no file, a bundled sample is sent.
    """
    return _apply(given)


@cli.command("plan")
@_of_a_run
def plan_command(**given: Any) -> int:
    """Say what `apply` would send, what it costs and how long it takes; nothing is sent, and no journal changes.

    It takes the same options as `apply`, and is the same as `apply --dry-run`.
    """
    return _apply(given | {"dry_run": True})


def _apply(given: dict[str, Any]) -> int:
    if not given["files"] and not given["sandbox"]:
        raise click.UsageError("give at least one file, - for standard input, or --sandbox for a bundled sample")
    if not given["skip_invalid"]:
        for option in ("max_invalid", "rejects"):
            if given[option] is not None:
                raise click.UsageError(f"--{option.replace('_', '-')} goes with --skip-invalid")
    if given["sandbox"] and _on_command_line("base_url"):
        raise click.UsageError("--sandbox and --base-url exclude each other")
    reporter = _reporter(given)
    options = _apply_options(given)
    from .apply import apply  # noqa: PLC0415 - brings aiohttp, which --help does without

    return apply(options, reporter)


@cli.command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@reading
@click.option("--no-strict", is_flag=True, help="Set aside the rules that join members.")
@telling
def validate_command(**given: Any) -> int:
    """Check files without sending anything; exit code 0 or 2."""
    reporter = _reporter(given)
    from .validate import validate  # noqa: PLC0415 - --help does without

    return validate(
        given["files"],
        reporter,
        kind=given["kind"],
        passed=given["passed"],
        renames=as_renames(given["renames"]),
        sheet=given["sheet"],
        strict=not given["no_strict"],
    )


def _metadata_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(SHORT_FORMS):
        flag = f"--{name.replace('_', '-')}"
        if name in _FLAGS:
            command = click.option(f"{flag}/--no-{flag[2:]}", name, default=None)(command)
        else:
            command = click.option(flag, name, metavar="TEXT", help=_HELP.get(name))(command)
    return command


@cli.command("set")
@click.argument("media_id", metavar="ID")
@_metadata_options
@connection
@click.option("--account", metavar="NAME[=FILE|env:VAR]", help="The account that uploaded the media, and its token.")
@click.option("--ref", metavar="TEXT", help="Your own name for it, never sent.")
@click.option("--max-wait", type=Duration(), default=10.0, show_default="10s", help="The longest wait for a window.")
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as a JSON object on standard output.")
@telling
def set_command(**given: Any) -> int:
    """Set the metadata of one media id."""
    if given["sandbox"] and _on_command_line("base_url"):
        raise click.UsageError("--sandbox and --base-url exclude each other")
    reporter = _reporter(given)
    name, _, source = (given["account"] or "").partition("=")
    options = Connection(
        sandbox=given["sandbox"],
        base_url=given["base_url"],
        token_file=given["token_file"],
        account=((name, source),) if source else (),
        strict=not given["no_strict"],
    )
    texts = {column: _as_text(given[column]) for column in SHORT_FORMS}
    from .single import set_one  # noqa: PLC0415 - brings aiohttp, which --help does without

    return set_one(
        options,
        reporter,
        media_id=given["media_id"],
        given={**texts, "account": name or None, "ref": given["ref"]},
        max_wait=given["max_wait"],
        as_json=given["as_json"],
    )


@cli.command("schema")
def schema_command() -> int:
    """Print the JSON Schema of an input line, for editors."""
    from .validate import schema  # noqa: PLC0415 - --help does without

    click.echo(schema())
    return 0


@cli.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8777, show_default=True, help="0 takes a free one.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Requests per token in each window; 0 is no limit.",
)
@click.option("--window", type=Duration(), default=900.0, show_default="15m", help="How long a window is.")
@click.option(
    "--app-limit",
    type=click.IntRange(min=0),
    default=50_000,
    show_default=True,
    help="Requests per app in 24 hours; 0 is no limit.",
)
@click.option("--latency", metavar="SECONDS[-SECONDS]", default="0", show_default=True, help="From least to most.")
@click.option(
    "--fail",
    metavar="[FAULT=]RATE",
    multiple=True,
    help="The share of requests that meet a 503, or another fault; may be repeated.",
)
@click.option("--script", metavar="FILE", help="A JSON or TOML file of media id to a list of faults.")
@click.option(
    "--outage",
    type=Outage(),
    metavar="[FAULT=]START-END",
    multiple=True,
    help="From when to when, after the start, every request meets a 503, or another fault; may be repeated.",
)
@telling
def sandbox_command(**given: Any) -> int:
    """Serve a stand-in for X on this machine, until Ctrl-C."""
    reporter = _reporter(given)
    latency = given["latency"].split("-")
    try:
        seconds = [Duration().convert(text, None, None) for text in latency]
        fail = {fault or "503": float(rate) for fault, _, rate in (share.rpartition("=") for share in given["fail"])}
    except (click.UsageError, ValueError):
        seconds, fail = [], {}
    if not 1 <= len(seconds) <= 2:
        raise click.UsageError("--latency is seconds, as 0.1 or 0.02-2; --fail a share, as 0.05 or reset=0.01")
    from .serve import serve  # noqa: PLC0415 - brings aiohttp, which --help does without

    return serve(
        reporter,
        host=given["host"],
        port=given["port"],
        limit=given["limit"] or None,
        window=given["window"],
        app_limit=given["app_limit"] or None,
        latency=(seconds[0], seconds[-1]),
        fail=fail,
        script=given["script"],
        outages=given["outage"],
    )


for _command in (*looking.COMMANDS, *connecting.COMMANDS):
    cli.add_command(_command)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code, whatever happens."""
    from xmediameta.errors import ConfigurationError, XMediaMetaError  # noqa: PLC0415 - msgspec, which --version needs not

    try:
        with _sigterm_raises():
            result = cli.main(args=None if argv is None else list(argv), prog_name="xmediameta", standalone_mode=False)
            sys.stdout.flush()
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (ConfigurationError, XMediaMetaError) as error:
        click.echo(f"Error: {error}", err=True)
        return 2 if isinstance(error, ConfigurationError) else 4
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except _Terminated:
        click.echo("terminated", err=True)
        return 143
    except BrokenPipeError:
        # Nobody reads standard output any more; Python must not complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


@contextmanager
def _sigterm_raises() -> Generator[None]:
    def terminate(*_: object) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _apply_options(given: dict[str, Any]) -> ApplyOptions:
    strict = not given["no_strict"]
    ordered: dict[str, Any] = {name: given[name] for name in Order.__struct_fields__ if name in given}
    ordered |= {"strict": strict, "renames": as_renames(given["renames"])}
    own = {name: given[name] for name in ApplyOptions.__struct_fields__ if name in given}
    return ApplyOptions(order=Order(**ordered), strict=strict, **own)


def _reporter(given: dict[str, Any]) -> Any:
    from .say import Reporter  # noqa: PLC0415 - brings rich, which --help does without

    return Reporter(quiet=given["quiet"], verbose=min(given["verbose"], 2), log_format=given["log_format"])


def _on_command_line(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _as_text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
