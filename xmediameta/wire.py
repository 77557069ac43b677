"""An update as the bytes of a request, and an answer as a reply or an error.

The status is judged first and only then is the body decoded (an HTML 520 is a server fault, not broken JSON). X's echo
of the metadata stays raw: it is decoded when somebody asks, and an odd one never turns a success into a failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from .errors import InvalidUpdate, ProblemError, UnreadableResponse
from .explain import explain
from .limits import read_windows
from .members import MediaId
from .models import Metadata, Update, check_notes, check_rules
from .problems import BOM, Problem, as_object, mend, problems_in, read_json, read_problem
from .text import excerpt, printable
from .verdict import classify

PATH: Final = "/2/media/metadata"

_LONGEST_WAIT: Final = 24 * 3600.0
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_LONGEST_DATE: Final = 64


class Reply(Struct, frozen=True, gc=False):
    """A success.

    Attributes:
        transaction_id: `x-transaction-id`, safe to show, or None.
        warnings: problems that X reported beside its success.
        raw_metadata: the bytes of `associated_metadata` as they came, or empty.
    """

    transaction_id: str | None
    warnings: tuple[Problem, ...]
    raw_metadata: bytes


class _Body(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    id: MediaId
    metadata: Metadata | UnsetType = UNSET


class _Data(Struct, frozen=True, gc=False):
    id: Any = UNSET
    associated_metadata: Raw | UnsetType = UNSET


class _Answer(Struct, frozen=True, gc=False):
    data: _Data
    errors: Raw | UnsetType = UNSET


_write = msgspec.json.Encoder().encode
_read_body = msgspec.json.Decoder(_Body).decode
_read_answer = msgspec.json.Decoder(_Answer).decode


def encode(update: Update, *, strict: bool = True) -> bytes:
    """The request body of an update: `{"id", "metadata"}`, never the caller's own notes.

    msgspec does not check what a constructor is given, so what was written is read again under the contract.

    Args:
        update: decoded or built by hand.
        strict: also refuse what breaks a rule that joins members.

    Raises:
        InvalidUpdate: names the member and the rule.
    """
    body = _Body(update.id, update.metadata)
    try:
        written = _write(body)
        same = _read_body(written) == body
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        fault = error
    else:
        # What reads back as something else (a tuple, bytes that were written as base64) gets the thorough check.
        if not same:
            update.check(strict=False)
        if update.account is not None or update.ref is not None or update.send_before is not None:
            check_notes(update)
        if strict:
            check_rules(update)
        return written
    update.check(strict=False)
    raise InvalidUpdate(*explain(fault, None, Update))


def encode_checked(update: Update) -> bytes:
    """The request body of an update as a reader made it: of what was checked already, in a third of the time."""
    return _write(_Body(update.id, update.metadata))


def decipher(status: int, headers: Mapping[str, str], body: bytes, *, media_id: str) -> Reply | ProblemError:
    """What an answer says. Never raises, for any answer.

    A 2xx with nothing in it is a success, and so is one with any JSON object that neither speaks of another media nor
    tells a failure and no `data`; `errors` beside `data` are warnings (FACTS, "Contract").

    Args:
        status: the HTTP status.
        headers: of the answer; look-ups must ignore case.
        body: at most what the transport lets through.
        media_id: the id that was sent.
    """
    if not 200 <= status <= 299:
        return _failure(status, headers, body, read_problem(status, headers, body))
    body = body.removeprefix(BOM)
    try:
        answer = _read_answer(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        mended = mend(body)
        if mended is not None:
            return decipher(status, headers, mended, media_id=media_id)
        return _odd_success(status, headers, body, media_id, b"")
    data = answer.data
    echo = b"" if data.associated_metadata is UNSET else bytes(data.associated_metadata)
    if data.id != media_id or answer.errors is not UNSET:
        return _odd_success(status, headers, body, media_id, echo)
    return Reply(_transaction_id(headers), (), echo)


def retry_after(headers: Mapping[str, str], *, date: float | None) -> float | None:
    """Seconds that `Retry-After` asks for, from 0 to a day; None where it is absent or malformed.

    Args:
        headers: look-ups must ignore case.
        date: the answer's `Date` in Unix seconds, which an HTTP date in `Retry-After` is compared with.
    """
    text = (headers.get("retry-after") or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_WAIT)
    until = _http_date(text) if text and date is not None else None
    return None if until is None or date is None else min(max(until - date, 0.0), _LONGEST_WAIT)


def server_date(headers: Mapping[str, str]) -> float | None:
    """`Date` in Unix seconds, or None where it is absent or malformed."""
    text = headers.get("date")
    return _last_date(text) if text else None


@lru_cache(maxsize=4)
def _last_date(text: str) -> float | None:
    # Thousands of answers carry the same second, and reading a date takes longer than the rest of an answer.
    return _http_date(text)


def _http_date(text: str) -> float | None:
    if len(text) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # `-0000` leaves it naive; HTTP knows no other zone than GMT (RFC 9110, section 5.6.7).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _odd_success(
    status: int, headers: Mapping[str, str], body: bytes, media_id: str, echo: bytes
) -> Reply | ProblemError:
    """A 2xx of another shape than `{"data": {"id": <the same>, …}}`."""
    if not body.strip():
        return Reply(_transaction_id(headers), (), b"")
    plain = read_json(body)
    answer = as_object(plain)
    if not isinstance(plain, dict):
        return _unreadable(status, headers, body, "the body is not a JSON object")
    data, errors = as_object(answer.get("data")), answer.get("errors")
    named = data.get("id")
    if isinstance(named, str | int) and str(named) != media_id:
        return _unreadable(status, headers, body, f"the answer is about another media id, {str(named)[:40]!r}")
    problems = problems_in(errors)
    if data or not (errors or _is_failure(answer)):
        return Reply(_transaction_id(headers), problems, echo)
    if errors and not problems:
        return _unreadable(status, headers, body, "it holds nothing but errors that cannot be read")
    first = problems[0] if problems else read_problem(status, headers, body)
    told = first.status is not None and 400 <= first.status <= 599
    return _failure(status, headers, body, first, as_status=first.status if told else None)


def _is_failure(answer: dict[str, Any]) -> bool:
    """Whether a body is one of the shapes of a failure (FACTS, "Failures seen"), whatever the status above it says."""
    status, kind = answer.get("status"), answer.get("type")
    return (
        bool(answer.get("error"))  # the v1.1 ancestor's `{"request", "error"}`
        or ("message" in answer and isinstance(answer.get("code"), int))  # the contract's Error
        or (isinstance(status, int) and 400 <= status <= 599)
        or (isinstance(kind, str) and "/problems/" in kind)
    )


def _unreadable(status: int, headers: Mapping[str, str], body: bytes, what: str) -> ProblemError:
    return _error(UnreadableResponse, status, headers, body, Problem(title="Unreadable", detail=what))


def _failure(
    status: int, headers: Mapping[str, str], body: bytes, problem: Problem, *, as_status: int | None = None
) -> ProblemError:
    json = "json" in (headers.get("content-type") or "").lower()
    bare = not json and not body.strip() and not read_windows(headers)
    kind = classify(status if as_status is None else as_status, problem, bare=bare)
    return _error(kind, status, headers, body, problem)


def _error(
    kind: type[ProblemError], status: int, headers: Mapping[str, str], body: bytes, problem: Problem
) -> ProblemError:
    date = server_date(headers)
    return kind(
        status,
        problem,
        body_excerpt=excerpt(body),
        transaction_id=_transaction_id(headers),
        windows=read_windows(headers),
        retry_after=retry_after(headers, date=date),
        date=date,
    )


def _transaction_id(headers: Mapping[str, str]) -> str | None:
    text = headers.get("x-transaction-id")
    return None if text is None else printable(text, 100)
