"""HTML and SVG made of elements: all text is escaped where it is put in, so that none can be forgotten."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

from xmediameta.text import printable

_VOID: Final = frozenset(("meta", "link", "br", "hr", "col"))
_LONGEST: Final = 2_000


class Markup(str):
    """Text that is markup already; only `tag` and this module's own constants make it."""

    __slots__ = ()


Content = Markup | str | float | None


def tag(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """An element.

    Args:
        content: markup as it is, text and numbers escaped and bounded, None left out.
        attributes: `class_` stands for `class`, `stroke_width` for `stroke-width`; None and False are left out.
    """
    given = ((key, value) for key, value in attributes.items() if value is not None and value is not False)
    named = "".join(_attribute(key, value) for key, value in given)
    if name in _VOID:
        return Markup(f"<{name}{named}>")
    return Markup(f"<{name}{named}>{join(content)}</{name}>")


def join(parts: Iterable[Content]) -> Markup:
    """Parts one after the other."""
    return Markup("".join(part if isinstance(part, Markup) else safe(part) for part in parts if part is not None))


def safe(text: str | float) -> Markup:
    """Text that shows as it is: no markup, no control characters, no bidi marks, of bounded length."""
    return Markup(html.escape(printable(str(text), _LONGEST), quote=True))


def _attribute(key: str, value: str | float | bool) -> str:
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    text = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
    return f' {key}="{text if isinstance(text, Markup) else safe(text)}"'
