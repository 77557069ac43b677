# ruff: noqa: F811 - fixtures come by import
"""`apply` and `set` with accounts that are logged in, and `xmediameta accounts`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from xmediameta import BearerToken, ConfigurationError, Credential, FileStore, KeyringStore, OAuth1Token, OAuth2Token
from xmediameta.sandbox import Sandbox

from .commandline import TOKEN, Ran, folder, records, rows, run, serve  # noqa: F401 - fixtures

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]
Keep = Callable[..., None]

_SECRETS = re.compile(r'"(?:\w*(?:token|secret|key))": *"([^"]+)"')


@pytest.fixture
def accounts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of those who are logged in; no token of the environment stands in for any."""
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    return Path(os.environ["XMEDIAMETA_ACCOUNTS"])


@pytest.fixture
def keep(accounts: Path) -> Keep:
    """`keep(sandbox, "alice")`: as if she had logged in there. `keep("bob", token)` keeps any credential."""

    async def save(where: Sandbox | str, name: str | Credential) -> None:
        if isinstance(where, Sandbox):
            given = where.oauth.login(str(name))
            where, name = str(name), OAuth2Token(
                given.access_token, given.refresh_token, client_id=given.client_id, expires_at=given.expires_at,
                scopes=given.scopes, issuer=where.url,
            )  # fmt: skip
        assert isinstance(name, Credential)
        await FileStore(accounts).save(where, name)

    return lambda where, name: asyncio.run(save(where, name))


@pytest.fixture
def command(run: Run, accounts: Path) -> Run:
    """Runs a command; no secret of any account that is kept may show."""

    def checked(*argv: object) -> Ran:
        before = _secrets(accounts)
        ran = run(*argv)
        for secret in before | _secrets(accounts):
            assert secret not in ran.out + ran.err
        return ran

    return checked


def _secrets(accounts: Path) -> set[str]:
    found = [_SECRETS.findall(path.read_text("utf-8")) for path in accounts.glob("*.json")]
    return {secret for one in found for secret in one}


def written(folder: Path, *named: str | None) -> str:
    """A file with one row for each."""
    lines = []
    for index, account in enumerate(named, 1):
        line = json.loads(rows(1, index))
        if account is not None:
            line["account"] = account
        lines.append(json.dumps(line))
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return "a.jsonl"


# Whose token is used


def test_the_account_of_a_row_picks_its_token(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keep(sandbox, "alice")
    keep(sandbox, "bob")
    ran = command("apply", written(folder, "alice", "bob", "alice"), "--base-url", sandbox.url, "--json")
    assert ran.code == 0, ran.err
    assert {name: counts["applied"] for name, counts in ran.json["by_account"].items()} == {"alice": 2, "bob": 1}
    assert len({request.token for request in sandbox.received}) == 2


def test_rows_without_a_name_are_those_of_the_only_account(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keep(sandbox, "alice")
    assert command("apply", written(folder, None, None), "--base-url", sandbox.url).code == 0
    assert command("set", "7", "--alt-text", "x", "--base-url", sandbox.url).code == 0
    assert len(sandbox.applied) == 3


def test_an_unknown_name_is_an_error_before_anything_is_sent(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keep(sandbox, "alice")
    ran = command("apply", written(folder, "alice", "alcie"), "--base-url", sandbox.url)
    assert ran.code == 2
    assert "no credential for the account alcie: type `xmediameta login --account alcie`" in ran.err
    assert "did you mean alice?" in ran.err
    assert sandbox.received == []


def test_rows_without_a_name_among_several_accounts(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keep(sandbox, "alice")
    keep(sandbox, "bob")
    ran = command("apply", written(folder, "alice", None), "--base-url", sandbox.url)
    assert ran.code == 2
    assert "some rows name no account" in ran.err
    assert "several accounts are logged in" in ran.err
    assert sandbox.received == []


def test_what_is_given_for_a_command_comes_before_what_is_kept(
    command: Run, serve: Serve, keep: Keep, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    sandbox = serve(token="given-to-the-command")
    keep("alice", BearerToken("kept-and-not-accepted"))
    monkeypatch.setenv("GIVEN", "given-to-the-command")
    given = ("--account", "alice=env:GIVEN", "--base-url", sandbox.url)
    assert command("apply", written(folder, "alice"), *given).code == 0
    monkeypatch.setenv("XMEDIAMETA_TOKEN", "given-to-the-command")
    assert command("apply", written(folder, None), "--base-url", sandbox.url, "--force").code == 0


def test_a_token_goes_only_to_where_it_came_from(command: Run, serve: Serve, keep: Keep, folder: Path):
    home, elsewhere = serve(), serve()
    keep(home, "alice")
    ran = command("apply", written(folder, "alice"), "--base-url", elsewhere.url)
    assert ran.code == 2
    assert f"the account alice was logged in at {home.url}, and its token is not sent to {elsewhere.url}" in ran.err
    assert elsewhere.received == []


def test_nobody_is_logged_in(command: Run, serve: Serve, folder: Path, accounts: Path):
    ran = command("apply", written(folder, None), "--base-url", serve().url)
    assert ran.code == 2
    assert "no token: type `xmediameta login`" in ran.err


def test_keys_of_oauth_1_sign_for_an_account(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keys = sandbox.oauth1.login("carol")
    keep("carol", OAuth1Token(keys.consumer_key, keys.consumer_secret, keys.access_token, keys.access_token_secret))
    assert command("apply", written(folder, "carol", "carol"), "--base-url", sandbox.url).code == 0
    assert (sandbox.oauth1.checked, sandbox.oauth1.refused) == (2, [])


# An account that must be logged in again


def test_it_stops_alone_and_its_rows_are_pending(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keep(sandbox, "alice")
    keep(sandbox, "bob")
    sandbox.oauth.revoke("bob")
    file = written(folder, *["alice", "bob"] * 10)
    ran = command("apply", file, "--base-url", sandbox.url, "--json")
    assert ran.code == 4
    assert ran.json["by_account"]["alice"]["applied"] == 10
    assert ran.json["by_account"]["bob"] == {"applied": 0, "unchanged": 0, "failed": 0, "expired": 0, "pending": 10}
    assert ran.json["stopped"]["account"] == "bob"
    assert ran.json["stopped"]["reason"] == "reconnect-required"
    assert "xmediameta login --account bob" in ran.json["stopped"]["action"]
    assert "xmediameta login --account bob" in ran.err
    assert sandbox.oauth.reused == 1

    listed = [json.loads(line) for line in command("accounts", "list", "--json").out.splitlines()]
    assert [(one["account"], one["health"]) for one in listed] == [("alice", "good"), ("bob", "log in again")]

    keep(sandbox, "bob")
    ran = command("apply", file, "--base-url", sandbox.url, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["by_account"]["bob"]["applied"] == 10


def test_set_says_what_to_type(command: Run, serve: Serve, keep: Keep):
    sandbox = serve()
    keep(sandbox, "bob")
    sandbox.oauth.revoke("bob")
    ran = command("set", "1", "--alt-text", "x", "--account", "bob", "--base-url", sandbox.url)
    assert ran.code == 4
    assert "xmediameta login --account bob" in ran.err


# accounts


def test_the_list_tells_of_every_kind_and_of_no_secret(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keep(sandbox, "alice")
    keep("bob", OAuth1Token("consumer-key-1", "consumer-secret-1", "access-token-1", "access-secret-1"))
    keep("carol", BearerToken("bearer-token-1"))
    keep("dave", OAuth2Token("access-token-2", "refresh-token-2", client_id="app", expires_at=time.time() - 60))
    keep("erin", OAuth2Token("access-token-3", expires_at=time.time() - 60))
    assert command("set", "1", "--alt-text", "x", "--account", "alice", "--base-url", sandbox.url).code == 0
    listed = {one["account"]: one for one in map(json.loads, command("accounts", "list", "--json").out.splitlines())}
    assert {name: (one["kind"], one["health"]) for name, one in listed.items()} == {
        "alice": ("OAuth 2.0", "good"),
        "bob": ("OAuth 1.0a", "good"),
        "carol": ("bearer", "used until X refuses it"),
        "dave": ("OAuth 2.0", "renewed when used"),
        "erin": ("OAuth 2.0", "log in again"),
    }
    assert listed["alice"]["scopes"] == ["tweet.read", "users.read", "media.write", "offline.access"]
    assert {name for name, one in listed.items() if one["used_at"] is not None} == {"alice"}
    shown = command("accounts").out.splitlines()
    assert shown[0].split() == ["account", "kind", "scopes", "token", "ends", "last", "used", "health"]
    assert len(shown) == 6
    assert "alice" in shown[1]
    assert "in 1:59:5" in shown[1] or "in 2:00:00" in shown[1]


def test_a_list_of_nobody(command: Run):
    ran = command("accounts")
    assert (ran.code, ran.out) == (0, "")
    assert "nobody is logged in: type `xmediameta login`" in ran.err


def test_removed_accounts_are_gone(command: Run, keep: Keep, accounts: Path):
    for name in ("alice", "bob", "carol"):
        keep(name, BearerToken(f"token-of-{name}"))
    ran = command("accounts", "remove", "alice", "crol")
    assert ran.code == 2
    assert "no account 'crol' is logged in here; did you mean 'carol'?" in ran.err
    assert command("accounts", "remove", "alice", "bob").out == "alice: forgotten\nbob: forgotten\n"
    assert _secrets(accounts) == {"token-of-carol"}


def test_check_renews_what_is_due_and_only_that(command: Run, serve: Serve, keep: Keep, accounts: Path):
    soon, later = serve(token_lifetime=30), serve()
    keep(soon, "alice")
    keep(later, "bob")
    keep("carol", BearerToken("bearer-token-1"))
    before = _secrets(accounts)
    ran = command("accounts", "check")
    assert ran.code == 0, ran.err
    said = dict(line.split(": ", 1) for line in ran.out.splitlines())
    assert said["alice"].startswith("renewed, until 20")
    assert said["bob"].startswith("good, until 20")
    assert said["carol"] == "used until X refuses it"
    assert (soon.oauth.renewals, later.oauth.renewals) == (1, 0)
    assert len(_secrets(accounts) - before) == 2
    assert command("accounts", "check", "bob").out.startswith("bob: good")
    assert soon.oauth.renewals == 1


def test_check_says_who_must_log_in(command: Run, serve: Serve, keep: Keep):
    sandbox = serve(token_lifetime=30)
    keep(sandbox, "alice")
    keep(sandbox, "it's me")
    sandbox.oauth.revoke("it's me")
    ran = command("accounts", "check")
    assert ran.code == 4
    assert "alice: renewed" in ran.out
    assert re.search("it's me: .*Type: xmediameta login --account 'it'\"'\"'s me'", ran.out)
    # It is kept, so that the list says so too, and nothing is asked twice.
    shown = command("accounts").out
    assert "log in again: " in shown


def test_check_with_a_token_endpoint_that_is_away(command: Run, keep: Keep, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("xmediameta.tokens.endpoint._PAUSES", (0.0,))
    token = OAuth2Token("a-token", "r-token", client_id="app", expires_at=1.0, issuer="http://127.0.0.1:9")
    keep("alice", token)
    ran = command("accounts", "check")
    assert ran.code == 3
    assert "alice: not renewed: " in ran.out


def test_check_of_nobody_known(command: Run, keep: Keep):
    keep("alice", BearerToken("a-token"))
    ran = command("accounts", "check", "alcie")
    assert ran.code == 2
    assert "did you mean 'alice'?" in ran.err


def test_a_damaged_file_is_named(command: Run, keep: Keep, accounts: Path):
    keep("alice", BearerToken("a-token"))
    path = next(accounts.glob("*.json"))
    path.write_bytes(b'{"account": "alice", "parts": {"token": "canary-in-a-damaged-file"')
    ran = command("accounts")
    assert ran.code == 4
    assert path.name in ran.err
    assert "canary-in-a-damaged-file" not in ran.err
    ran = command("set", "1", "--alt-text", "x", "--account", "alice")
    assert ran.code == 2
    assert path.name in ran.err


def test_a_run_notes_whom_it_uses_and_a_plan_does_not(command: Run, serve: Serve, keep: Keep, folder: Path):
    sandbox = serve()
    keep(sandbox, "alice")
    keep(sandbox, "bob")
    file = written(folder, "alice")

    def used() -> list[str]:
        listed = map(json.loads, command("accounts", "list", "--json").out.splitlines())
        return [one["account"] for one in listed if one["used_at"] is not None]

    assert command("plan", file, "--base-url", sandbox.url).code == 0
    assert used() == []
    assert command("apply", file, "--base-url", sandbox.url).code == 0
    assert used() == ["alice"]


# The keyring


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


@pytest.fixture
def ring(tmp_path_factory: pytest.TempPathFactory, accounts: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    before, made = keyring.get_keyring(), Ring()
    keyring.set_keyring(made)
    state = tmp_path_factory.mktemp("state")
    for name in ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(state))
    monkeypatch.setenv("XMEDIAMETA_ACCOUNTS", "keyring")
    yield made
    keyring.set_keyring(before)


def test_accounts_in_the_keyring(command: Run, ring: Ring, serve: Serve, folder: Path):
    sandbox = serve(token="kept-in-the-ring")
    asyncio.run(KeyringStore().save("alice", BearerToken("kept-in-the-ring")))
    assert command("apply", written(folder, "alice"), "--base-url", sandbox.url).code == 0
    assert "alice" in command("accounts").out
    assert not list(folder.glob("keyring*"))
    assert command("accounts", "remove", "alice").code == 0
    with pytest.raises(ConfigurationError, match=r"use KeyringStore\(\), or name the folder"):
        FileStore()
    assert "nobody is logged in" in command("accounts").err
