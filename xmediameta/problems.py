"""What the body of a failed request says, as one `Problem`, whatever its shape.

X answers with RFC 9457 problem documents, with two legacy shapes, with bare strings, with HTML from a proxy, or with
nothing (FACTS, "Failures seen"). `read_problem` reads them all and never raises: a member of the wrong type is
ignored, a missing `type` is `about:blank`, and what the RFC does not name is kept in `extensions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct

from .text import printable

BLANK: Final = "about:blank"
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST: Final = 2_000
_MOST_MEMBERS: Final = 32
_NAMED: Final = frozenset(("type", "title", "status", "detail", "instance"))


class Problem(Struct, frozen=True, gc=False, kw_only=True, repr_omit_defaults=True, omit_defaults=True):
    """An RFC 9457 problem (once RFC 7807).

    Attributes:
        type: the URI of the kind of problem; `about:blank` says no more than the status.
        title, detail: what it says, as it came: `said()` is safe to show.
        status: the status in the body, which may differ from the answer's.
        instance: the URI of this occurrence.
        extensions: other members, such as `errors`, `reason`, `period`, as plain objects.
    """

    type: str = BLANK
    title: str = ""
    status: int | None = None
    detail: str = ""
    instance: str = ""
    extensions: dict[str, Any] = {}

    @property
    def slug(self) -> str:
        """The last path segment of `type`: the host may be api.twitter.com or api.x.com. Empty for `about:blank`."""
        return "" if self.type == BLANK else self.type.rstrip("/").rpartition("/")[2].lower()

    def said(self) -> str:
        """Title, detail and listed messages on one safe line."""
        parts = [self.title or self.slug]
        if self.detail and self.detail != self.title:
            parts.append(self.detail)
        parts.extend(message for message in _messages(self.extensions.get("errors")) if message not in parts)
        return printable(": ".join(part for part in parts if part))


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """The problem that an answer describes. Never raises, for any bytes.

    Args:
        status: the HTTP status, which titles what has no title.
        headers: of the answer; the content type is not trusted, since X sends problems under several.
        body: at most what the transport lets through (1 MiB).
    """
    plain = read_json(body)
    problem = _from_object(plain) if isinstance(plain, dict) else None
    return problem if problem is not None else Problem(title=phrase(status))


def problems_in(errors: object) -> tuple[Problem, ...]:
    """The entries of an `errors` list, as problems; what is neither an object nor text is passed over."""
    if not isinstance(errors, list):
        return ()
    found = (
        _from_object(entry) if isinstance(entry, dict) else Problem(detail=_text(entry)) if _text(entry) else None
        for entry in errors[:_MOST_MEMBERS]
    )
    return tuple(problem for problem in found if problem is not None)


def read_json(body: bytes) -> object:
    """A JSON body as plain objects, a byte-order mark tolerated; None for anything else. Never raises."""
    try:
        return msgspec.json.decode(body.removeprefix(_BOM))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return None


def phrase(status: int) -> str:
    """The reason phrase of a status, or an empty text for one that HTTP does not name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _from_object(plain: dict[Any, Any]) -> Problem | None:
    if not plain:
        return None
    title, detail = _text(plain.get("title")), _text(plain.get("detail"))
    # `{"code", "message"}` is the contract's Error; `{"request", "error"}` is from the v1.1 ancestor.
    detail = detail or _text(plain.get("message")) or _text(plain.get("error_description")) or _text(plain.get("error"))
    status = plain.get("status")
    members = {
        str(name)[:100]: value
        for name, value in list(plain.items())[:_MOST_MEMBERS]
        if name not in _NAMED
    }
    return Problem(
        type=_text(plain.get("type")) or BLANK,
        title=title,
        status=status if isinstance(status, int) and not isinstance(status, bool) else None,
        detail=detail,
        instance=_text(plain.get("instance")),
        extensions=members,
    )


def _messages(errors: object) -> list[str]:
    """The messages in `errors`: objects with `message` or `detail`, or bare strings."""
    if not isinstance(errors, list):
        return []
    entries = errors[:_MOST_MEMBERS]
    texts = [
        _text(entry.get("message")) or _text(entry.get("detail")) if isinstance(entry, dict) else _text(entry)
        for entry in entries
    ]
    return [text for text in texts if text]


def _text(value: object) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""
