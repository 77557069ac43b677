"""`apply` as a function with a store of tokens as its `auth`."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmediameta import (
    BearerToken,
    CallbackStore,
    ConfigurationError,
    FileStore,
    MemoryStore,
    Metadata,
    TokenStore,
    Update,
    apply,
)
from xmediameta.sandbox import Sandbox

CAT = Metadata.of(alt_text="A dancing cat")


async def test_a_store_gives_each_account_its_token(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "accounts")
    await store.save("ana", BearerToken("token-of-ana"))
    await store.save("bob", BearerToken("token-of-bob"))
    rows = [Update("1", CAT, account="ana"), Update("2", CAT, account="bob")]
    async with Sandbox() as sandbox:
        done = await apply(rows, auth=store, base_url=sandbox.url, journal=tmp_path / "journal.db", run="rows")
        tokens = {request.token for request in sandbox.received}
    assert done.applied == len(tokens) == 2


@pytest.mark.parametrize("account", ["anna", None])
async def test_an_account_that_it_does_not_hold_is_told_of_before_anything_is_sent(
    account: str | None, tmp_path: Path
) -> None:
    store = MemoryStore({"ana": BearerToken("token-of-ana"), "bob": BearerToken("token-of-bob")})
    rows = [Update("1", CAT, account="ana"), Update("2", CAT, account=account)]
    async with Sandbox() as sandbox:
        with pytest.raises(ConfigurationError, match=f"auth names no credential for {account}; nothing was sent"):
            await apply(rows, auth=store, base_url=sandbox.url, journal=tmp_path / "journal.db", run="rows")
        assert sandbox.received == []


@pytest.mark.parametrize(
    "store",
    [
        MemoryStore({"ana": BearerToken("a-token")}),
        MemoryStore({"ana": BearerToken("a-token"), "bob": BearerToken("b-token"), None: BearerToken("c-token")}),
    ],
)
async def test_rows_without_an_account(store: TokenStore, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        done = await apply(
            [Update("1", CAT)], auth=store, base_url=sandbox.url, journal=tmp_path / "journal.db", run="rows"
        )
    assert done.applied == 1


async def test_a_store_that_cannot_tell_its_names_is_asked_for_each(tmp_path: Path) -> None:
    async def load(name: str | None) -> BearerToken | None:
        return BearerToken("a-token") if name == "ana" else None

    async def save(name: str | None, token: object) -> None:
        raise AssertionError("a token that does not end is not saved")

    async with Sandbox() as sandbox:
        done = await apply(
            [Update("1", CAT, account="ana")],
            auth=CallbackStore(load, save),
            base_url=sandbox.url,
            journal=tmp_path / "journal.db",
            run="rows",
        )
    assert done.applied == 1
