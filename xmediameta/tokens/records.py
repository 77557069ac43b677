"""What is written of an account: its credential as plain text members, and notes for people. As JSON, on one line."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from xmediameta.credentials import BearerToken, Credential, Secret
from xmediameta.errors import AuthError, ConfigurationError

from .oauth1 import OAuth1Token
from .oauth2 import OAuth2Token

VERSION: Final = 1
Kind = Literal["bearer", "oauth1", "oauth2"]


class Record(Struct, kw_only=True, omit_defaults=True):
    """One account in a store.

    Attributes:
        account: its name.
        parts: of the credential, as `as_dict` gives them.
        used_at: when a run last took the credential (Unix seconds).
        trouble: why somebody must log in again, or None.
    """

    version: int = VERSION
    account: str | None = None
    kind: Kind
    parts: dict[str, Any]
    used_at: float | None = None
    trouble: str | None = None

    def __repr__(self) -> str:
        return f"<Record of {self.kind} ****>"


class Notes(Struct, frozen=True):
    """What a store knows of an account beside its credential."""

    used_at: float | None = None
    trouble: str | None = None


class Sealed(bytes):
    """The bytes of a record, which do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'****'"


_decoder: Final = msgspec.json.Decoder(Record)


def record_of(name: str | None, token: Credential) -> Record:
    """An account as it is written.

    Raises:
        ConfigurationError: a credential of a kind that is not known here.
    """
    if isinstance(token, OAuth2Token):
        return Record(account=name, kind="oauth2", parts=token.as_dict())
    if isinstance(token, OAuth1Token):
        return Record(account=name, kind="oauth1", parts=token.as_dict())
    if isinstance(token, BearerToken):
        parts = {"token": Secret(token.authorization().removeprefix("Bearer "))} | (
            {"app": token.app} if token.app else {}
        )
        return Record(account=name, kind="bearer", parts=parts)
    raise ConfigurationError(f"a store keeps tokens of this package, not {type(token).__name__}")


def credential_of(record: Record, where: str) -> Credential:
    """The credential of an account.

    Raises:
        AuthError: something is amiss; nothing of it is echoed.
    """
    wrong = ""
    try:
        if record.kind == "oauth2":
            return OAuth2Token.from_dict(record.parts)
        parts = {name: Secret(part) if isinstance(part, str) else part for name, part in record.parts.items()}
        return OAuth1Token(**parts) if record.kind == "oauth1" else BearerToken(**parts)
    except ConfigurationError as error:
        wrong = error.message
    except TypeError:
        wrong = "its members are not those of its kind"
    raise AuthError(f"{where} cannot be used: {wrong}")


def written(record: Record) -> Sealed:
    """The bytes of a record."""
    # By the standard library: msgspec does not write texts of another class than `str`, such as these secrets.
    members = {name: getattr(record, name) for name in Record.__struct_fields__}
    return Sealed(json.dumps(members).encode() + b"\n")


def read(raw: bytes, where: str) -> Record:
    """A record from its bytes.

    Raises:
        AuthError: they are damaged, or of a later version; nothing of them is echoed.
    """
    record = _decoded(raw)
    raw = b""
    if record is None:
        raise AuthError(f"{where} is damaged: log the account in again, or restore the file")
    if record.version != VERSION:
        raise AuthError(f"{where} was written by another version of xmediameta (format {record.version})")
    return record


def _decoded(raw: bytes) -> Record | None:
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
