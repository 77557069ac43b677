"""`set`: one update from options."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import click
import msgspec

from xmediameta.applying.course import Stop
from xmediameta.client import Client
from xmediameta.credentials import BearerToken, Credential
from xmediameta.errors import ConfigurationError, InvalidUpdate, XMediaMetaError
from xmediameta.flat import columns_for
from xmediameta.models import Metadata, Update
from xmediameta.outcomes import Applied, Failed, Outcome
from xmediameta.sandbox import Sandbox
from xmediameta.shortform import SHORT_FORMS
from xmediameta.text import printable

from .auth import credentials, without_credential
from .looping import run_in_loop
from .options import Connection
from .results import found
from .say import Reporter
from .sending import SANDBOX_LIMIT, SANDBOX_WINDOW

FLAGS: Final = frozenset(
    ("allow_download", "adult_content", "graphic_violence", "other_sensitive", "managed", "shared")
)


def option_of(name: str) -> str:
    """`--alt-text`."""
    return f"--{name.replace('_', '-')}"


def set_one(
    options: Connection,
    reporter: Reporter,
    *,
    media_id: str,
    given: Mapping[str, str | None],
    max_wait: float | None,
    as_json: bool,
) -> int:
    """Send one update; the exit code.

    Args:
        given: column name to text, None where the option was left out.

    Raises:
        click.UsageError: an option that breaks the contract; nothing was sent.
    """
    update = _update(media_id, given, strict=options.strict)
    used: dict[str | None, Credential]
    if options.sandbox:
        used = {update.account: BearerToken("sandbox")}
    else:
        known = credentials(options, reporter)
        if lacking := without_credential([update.account], known):
            raise click.UsageError(lacking[0])
        used = {update.account: known[update.account]}
        known.note_used(used)
    if options.sandbox:
        reporter.info("sending to a sandbox on this machine: nothing is sent to X")
    with reporter.log_records():
        # On asyncio's own loop, which SIGTERM ends while it waits; uvloop would swallow what the handler raises.
        outcome = run_in_loop(partial(_send, options, update, used, max_wait), own=True)
    if as_json:
        record = {"id": update.id, "account": update.account, "ref": update.ref, **found(outcome)}
        click.echo(msgspec.json.encode(record))
    return _tell(outcome, reporter)


def _update(media_id: str, given: Mapping[str, str | None], *, strict: bool) -> Update:
    if all(given.get(name) is None for name in SHORT_FORMS):
        raise click.UsageError("nothing to set: give at least one option such as --alt-text TEXT")
    columns = columns_for({"id": "ID", **{name: option_of(name) for name in given}})
    try:
        return columns.update([media_id, *given.values()], strict=strict, keep_empty=True)
    except InvalidUpdate as error:
        rule = str(error)
    raise click.UsageError(rule)


async def _send(
    options: Connection, update: Update, used: Mapping[str | None, Credential], max_wait: float | None
) -> Outcome:
    async with AsyncExitStack() as stack:
        base_url = options.base_url
        if options.sandbox:
            base_url = (await stack.enter_async_context(Sandbox(limit=SANDBOX_LIMIT, window=SANDBOX_WINDOW))).url
        client = await stack.enter_async_context(Client(used, base_url=base_url, strict=options.strict))
        metadata = update.metadata if isinstance(update.metadata, Metadata) else Metadata()
        try:
            return await client.create(update.id, metadata, account=update.account, ref=update.ref, max_wait=max_wait)
        except ConfigurationError:
            raise
        except XMediaMetaError as error:
            return Failed(update=update, error=error)


def _tell(outcome: Outcome, reporter: Reporter) -> int:
    if isinstance(outcome, Failed):
        reporter.error(str(outcome.error))
        passing = outcome.error.scope in {"update", "retry"}
        return 1 if passing else Stop.of(outcome.error).exit_code
    told: dict[str, Any] = found(outcome)
    transaction = f" (transaction {printable(told['transaction_id'], 80)})" if told["transaction_id"] else ""
    reporter.info(f"applied to media {outcome.id}{transaction}")
    if isinstance(outcome, Applied) and outcome.warnings:
        reporter.warn(f"X says: {told['problem']}")
    return 0
