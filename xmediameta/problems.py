"""What the body of a failed request says, as one `Problem`, whatever its shape.

X answers with RFC 9457 problem documents, with two legacy shapes, with bare strings, with HTML from a proxy, or with
nothing (FACTS, "Failures seen"). `read_problem` reads them all and never raises: a member of the wrong type is
ignored, a missing `type` is `about:blank`, and what the RFC does not name is kept in `extensions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from .text import HALF_PAIR, printable

BLANK: Final = "about:blank"
BOM: Final = b"\xef\xbb\xbf"
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
        path = self.type.partition("#")[0].partition("?")[0]
        return "" if path == BLANK else path.rstrip("/").rpartition("/")[2].lower()

    def said(self) -> str:
        """Title, detail and listed messages on one safe line."""
        parts = [self.title or self.slug]
        if self.detail and self.detail != self.title:
            parts.append(self.detail)
        parts.extend(message for message in _messages(self.extensions.get("errors")) if message not in parts)
        *before, last = [part for part in parts if part] or [""]
        return printable(": ".join([*(part.rstrip(". ") or part for part in before), last]))


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> Problem:  # noqa: ARG001
    """The problem that an answer describes. Never raises, for any bytes.

    Args:
        status: the HTTP status, which titles what has no title.
        headers: of the answer; the content type is not trusted, since X sends problems under several.
        body: at most what the transport lets through (1 MiB).
    """
    plain = as_object(read_json(body))
    return _from_object(plain) if plain else Problem(title=phrase(status))


def problems_in(errors: object) -> tuple[Problem, ...]:
    """The entries of an `errors` list, as problems; what is neither an object nor text is passed over."""
    entries = as_list(errors)[:_MOST_MEMBERS]
    found = (
        _from_object(as_object(entry)) if as_object(entry) else Problem(detail=_text(entry)) if _text(entry) else None
        for entry in entries
    )
    return tuple(problem for problem in found if problem is not None)


def as_object(plain: object) -> dict[str, Any]:
    """A JSON object, or an empty one for anything else."""
    return cast("dict[str, Any]", plain) if isinstance(plain, dict) else {}


def as_list(plain: object) -> list[object]:
    """A JSON array, or an empty one for anything else."""
    return cast("list[object]", plain) if isinstance(plain, list) else []


def read_json(body: bytes) -> object:
    """A JSON body as plain objects, a byte-order mark tolerated; None for anything else. Never raises."""
    body = body.removeprefix(BOM)
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        mended = mend(body)
        return None if mended is None else read_json(mended)


def mend(body: bytes) -> bytes | None:
    """The body with a replacement character for every half of a pair; None where there is nothing to mend."""
    mended = HALF_PAIR.sub(rb"\\ufffd", body)
    return None if mended == body else mended


def phrase(status: int) -> str:
    """The reason phrase of a status, or an empty text for one that HTTP does not name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _from_object(plain: dict[str, Any]) -> Problem:
    title, detail = _text(plain.get("title")), _text(plain.get("detail"))
    # `{"code", "message"}` is the contract's Error; `{"request", "error"}` is from the v1.1 ancestor.
    detail = detail or _text(plain.get("message")) or _text(plain.get("error_description")) or _text(plain.get("error"))
    status = plain.get("status")
    members = list(plain.items())[:_MOST_MEMBERS]
    return Problem(
        type=_text(plain.get("type")) or BLANK,
        title=title,
        status=status if isinstance(status, int) and not isinstance(status, bool) else None,
        detail=detail,
        instance=_text(plain.get("instance")),
        extensions={name[:100]: value for name, value in members if name not in _NAMED},
    )


def _messages(errors: object) -> list[str]:
    """The messages in `errors`: objects with `message` or `detail`, or bare strings."""
    texts = (
        _text(as_object(entry).get("message")) or _text(as_object(entry).get("detail")) or _text(entry)
        for entry in as_list(errors)[:_MOST_MEMBERS]
    )
    return [text for text in texts if text]


def _text(value: object) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""
