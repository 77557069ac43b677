"""Foreign text made safe to show: what a server or a file sent never drives a terminal or forges a log line."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# In JSON, an escape of one half of a pair without the other: what programs write that cut a text by UTF-16 units.
# The grammar allows it, UTF-8 cannot carry it, and msgspec refuses it.
# Both kinds begin with the same letters, which lets the search skip what holds none.
HALF_PAIR: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)

# Joiners are format characters too, but emoji and several scripts are built with them.
_HARMLESS: Final = frozenset("\u200c\u200d")
_HIDDEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def printable(text: str, limit: int = 500) -> str:
    """Text on one line, with control characters, ANSI escapes and bidi marks shown as escapes.

    Args:
        text: anything, lone surrogates included.
        limit: the most characters of `text` that are kept; a cut is marked with `…`.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    kept = text[:limit]
    if not (kept.isascii() and kept.isprintable()):
        kept = "".join(_escaped(character) for character in kept)
    return kept + "…" if len(text) > limit else kept


def excerpt(body: bytes, limit: int = 300) -> str:
    r"""The first bytes of a body as safe text; bytes that are not UTF-8 show as `\xNN`."""
    # A character takes at most four bytes; one more tells that something was cut.
    return printable(body[: limit * 4 + 4].decode("utf-8", "backslashreplace"), limit)


def counted(number: int, noun: str) -> str:
    """`1 character`, `1,043 characters`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _escaped(character: str) -> str:
    if character in _HARMLESS or unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
