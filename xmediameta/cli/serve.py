"""`sandbox`: serves the stand-in for X until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence

import click

from xmediameta.sandbox import Sandbox, load_script
from xmediameta.text import counted

from .looping import run_in_loop
from .say import Reporter

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


def serve(
    reporter: Reporter,
    *,
    host: str,
    port: int,
    limit: int | None,
    window: float,
    app_limit: int | None,
    latency: tuple[float, float],
    fail: Mapping[str, float],
    script: str | None,
    outages: Sequence[tuple[str, float, float]],
) -> int:
    """Serve until SIGINT or SIGTERM, which is how a server is meant to end; the exit code.

    Raises:
        ConfigurationError: an option that makes no sense, or a port that cannot be had.
    """
    sandbox = Sandbox(
        host=host,
        port=port,
        limit=limit,
        window=window,
        app_limit=app_limit,
        latency=latency,
        fail=fail,
        script=load_script(script) if script is not None else None,
    )
    if host not in _LOOPBACK and not host.startswith("127."):
        reporter.warn(f"the sandbox listens on {host}: other machines may reach it")
    run_in_loop(lambda: _serve(sandbox, reporter, outages), own=True)
    return 0


async def _serve(sandbox: Sandbox, reporter: Reporter, outages: Sequence[tuple[str, float, float]]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ended.set)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows, where Ctrl-C cancels this task instead
            continue
    async with sandbox:
        for outage in outages:
            sandbox.schedule(*outage)
        click.echo(sandbox.url)
        reporter.info(
            f"a sandbox for POST {sandbox.endpoint_url}; nothing is sent to X, any token will do. Ctrl-C ends it."
        )
        reporter.info("try it:")
        reporter.info(
            f"  curl -H 'Authorization: Bearer any' -H 'Content-Type: application/json' {sandbox.endpoint_url} "
            """-d '{"id": "1146654567674912769", "metadata": {"alt_text": {"text": "A dancing cat"}}}'"""
        )
        reporter.info(f"  XMEDIAMETA_TOKEN=any xmediameta apply --base-url {sandbox.url} updates.csv")
        await ended.wait()
    counts = sandbox.counts
    reporter.info(
        f"{counted(counts.requests, 'request')}, {counts.applied:,} applied, {counts.limited:,} refused by a window"
    )
