"""`bulk` with a journal and `coalesce`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.integration.clients import TOKEN
from xmediameta import Applied, Client, ConfigurationError, Metadata, Outcome, Sandbox, Unchanged, Update
from xmediameta.journal import Journal

UPDATES = [
    Update("1", Metadata.of(alt_text="A", allow_download=True), ref="1a"),
    Update("2", Metadata.of(alt_text="X"), ref="2"),
    Update("1", Metadata.of(alt_text="B"), ref="1b"),
    Update("1", Metadata.of(alt_text="C"), ref="1c"),
]
SENT = {
    "last": {"alt_text": {"text": "C"}},
    "merge": {"alt_text": {"text": "C"}, "allow_download_status": {"allow_download": True}},
}


async def outcomes_of(
    sandbox: Sandbox, journal: Path, coalesce: Literal["last", "merge"] | None, updates: list[Update]
) -> list[Outcome]:
    async with (
        Client(TOKEN, base_url=sandbox.url, pace=None) as client,
        client.bulk(updates, journal=journal, run="r", coalesce=coalesce) as run,
    ):
        return [outcome async for outcome in run]


@pytest.mark.parametrize("coalesce", ["last", "merge"])
async def test_one_request_for_each_media_id(tmp_path: Path, coalesce: Literal["last", "merge"]) -> None:
    journal = tmp_path / "journal.db"
    async with Sandbox() as sandbox:
        outcomes = await outcomes_of(sandbox, journal, coalesce, UPDATES)
        assert all(isinstance(outcome, Applied) for outcome in outcomes)
        assert sorted(str(outcome.update.ref) for outcome in outcomes) == ["1a", "1b", "1c", "2"]
        assert sandbox.counts.requests == 2
        assert sandbox.applied == {"1": SENT[coalesce], "2": {"alt_text": {"text": "X"}}}
        again = await outcomes_of(sandbox, journal, coalesce, UPDATES)
        assert [type(outcome) for outcome in again] == [Unchanged] * 4
        assert sandbox.counts.requests == 2


async def test_what_the_journal_remembers_is_what_was_sent(tmp_path: Path) -> None:
    """Not what the last row asked for: a run that sends just that has something to do."""
    journal = tmp_path / "journal.db"
    async with Sandbox() as sandbox:
        await outcomes_of(sandbox, journal, "merge", UPDATES)
        await outcomes_of(sandbox, journal, None, UPDATES[-1:])
        assert sandbox.counts.requests == 3
        assert sandbox.applied["1"] == SENT["last"]


async def test_a_run_that_was_started_already_has_been_coalesced_or_not(tmp_path: Path) -> None:
    async with await Journal.open(tmp_path / "journal.db") as journal, Client(TOKEN) as client:
        held = await journal.start("r", client.base_url, ())
        with pytest.raises(ConfigurationError, match="goes with the start of a run"):
            client.bulk((), journal=held, coalesce="last")
    with pytest.raises(ConfigurationError, match="'last', 'merge' or None"):
        Client(TOKEN).bulk([], journal="j.db", run="r", coalesce="first")  # type: ignore[arg-type]
