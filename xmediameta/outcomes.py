"""How an update ended: every input ends in exactly one of these.

All carry `update`, and with it the caller's `ref`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from .errors import XMediaMetaError
from .models import Metadata, Update
from .problems import Problem

Reason = Literal["expired", "account_stopped", "run_stopped", "budget", "closed"]


class _Outcome(Struct, frozen=True, gc=False):
    update: Update

    @property
    def id(self) -> str:
        """The media id."""
        return self.update.id

    @property
    def ref(self) -> str | int | None:
        """The caller's own name for the row."""
        return self.update.ref


class Applied(_Outcome, frozen=True, gc=False, kw_only=True):
    """X took the update.

    Attributes:
        transaction_id: `x-transaction-id`, which X's support asks for.
        attempts: how many requests it took.
        warnings: problems that X reported beside its success.
        raw_metadata: X's echo as it came, JSON bytes, or empty.
    """

    transaction_id: str | None = None
    attempts: int = 1
    warnings: tuple[Problem, ...] = ()
    raw_metadata: bytes = b""

    @property
    def associated_metadata(self) -> Metadata | None:
        """X's echo, decoded now: unknown members and members of another shape are left out; None without an echo."""
        return read_echo(self.raw_metadata)


class Unchanged(_Outcome, frozen=True, gc=False, kw_only=True):
    """The same was sent before, and nothing else since: no request was made.

    Attributes:
        sent_at: when it was sent, aware (UTC).
    """

    sent_at: datetime


class Failed(_Outcome, frozen=True, gc=True, kw_only=True):
    """The update was refused, or its retries are used up.

    Attributes:
        error: what `create` would have raised.
    """

    error: XMediaMetaError


class NotSent(_Outcome, frozen=True, gc=True, kw_only=True):
    """The update is not settled: it was not sent, or what stopped the run met it.

    Attributes:
        reason: `"expired"`, `"account_stopped"`, `"run_stopped"`, `"budget"` or `"closed"`.
        error: what stopped it, where there is one.
    """

    reason: Reason
    error: XMediaMetaError | None = None


Outcome = Applied | Unchanged | Failed | NotSent


def read_echo(raw: bytes) -> Metadata | None:
    """The metadata of an answer, as far as the contract knows it. Never raises."""
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw, type=Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        plain = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(plain, dict):
        return None
    known = _known_only(plain, msgspec.inspect.type_info(Metadata))
    fitting: dict[str, Any] = {}
    for name, value in known.items():
        try:
            fitting[name] = getattr(msgspec.convert({name: value}, Metadata), name)
        except msgspec.ValidationError:
            continue
    return Metadata(**fitting)


def _known_only(value: Any, kind: msgspec.inspect.Type) -> Any:
    """The value without the members that the contract does not name."""
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    for one in kinds:
        if isinstance(one, msgspec.inspect.StructType) and isinstance(value, dict):
            types = {field.encode_name: field.type for field in one.fields}
            members = cast("dict[str, Any]", value).items()
            return {
                name: _known_only(member, types[name])
                for name, member in members
                if name in types and member is not None
            }
        if isinstance(one, msgspec.inspect.ListType) and isinstance(value, list):
            return [_known_only(item, one.item_type) for item in cast("list[object]", value)]
    return value
