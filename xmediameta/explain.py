"""What is wrong with an input, in a person's words: the member, the rule, and by how much.

msgspec stops at the first fault and tells where it is and which type it expected. Here its message is read again
beside the input itself, so that the answer can say "1,001 characters, 1 too many" or "did you mean 'alt_text'?".
It runs only for inputs that were refused, so it need not be fast.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Final, cast

import msgspec

from .members import MEDIA_ID_PATTERN
from .shortform import SHORT_FORMS
from .text import counted, printable

_MESSAGE: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_TYPE_NAMES: Final = {
    "str": "text", "bool": "true or false", "int": "a whole number", "float": "a number", "object": "an object",
    "array": "a list", "null": "null", "datetime": "a time",
}  # fmt: skip
# What X itself calls the same thing elsewhere.
_OTHER_NAMES: Final = {"media_id": "id", "media_id_string": "id", "mediaid": "id"}
_MEDIA_KEY: Final = re.compile(r"^\d+_(\d{1,19})$")

NEEDS_ZONE: Final = "a time needs its zone, as in 2026-01-31T12:00:00Z"
MILLISECONDS: Final = "is in seconds; this looks like milliseconds"
SURROGATE: Final = "holds a lone surrogate (half a character, as a cut emoji leaves it), which UTF-8 cannot carry"

Fault = tuple[str, str]


def explain(error: Exception, raw: object, root: type[msgspec.Struct]) -> Fault:
    """Name the member and the rule for an error of msgspec.

    Args:
        error: what `msgspec.json.decode` or `msgspec.convert` raised.
        raw: the input as plain objects, as far as it could be read.
        root: the struct that was asked for.
    """
    if isinstance(error, RecursionError):
        return "", "nested too deeply"
    if not isinstance(error, msgspec.ValidationError):
        return "", printable(str(error))
    match = _MESSAGE.match(str(error))
    what, path = (match["what"], match["path"] or "$") if match else (str(error), "$")
    steps = [name or f"[{index}]" for name, index in _STEP.findall(path)]
    return _fault(what, steps, raw, root)


def _fault(what: str, steps: list[str], raw: object, root: type[msgspec.Struct]) -> Fault:
    if missing := re.match(r"Object missing required field `(.+)`", what):
        return _dotted([*steps, missing[1]]), "is missing"
    if what == "Expected `str`":
        return _dotted(steps), "the name of a member must be text"
    if unknown := re.match(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        return _dotted([*steps, unknown[1]]), _unknown(unknown[1], steps, root)
    member = _dotted(steps)
    if expected := re.match(r"Expected `(.+)`, got `(.+)`$", what):
        return member, _wrong_type(expected[1], expected[2], steps, list(_values(raw, steps)))
    if pattern := re.match(r"Expected `str` matching regex '(.+)'$", what):
        regex = pattern[1].replace("\\\\", "\\")
        value = _first(raw, steps, lambda v: isinstance(v, str) and not re.search(regex, v))
        return member, _id_rule(str(value)) if regex == MEDIA_ID_PATTERN else _country_rule(str(value))
    if bound := re.match(r"Expected `(str|array)` of length (<=|>=) (\d+)$", what):
        return member, _length_rule(bound[1], bound[2], int(bound[3]), raw, steps)
    if re.match(r"Invalid enum value", what):
        allowed = "TweetImage" if steps and steps[-1] == "media_category" else "Any"
        return member, f'must be "{allowed}", the only value that X publishes'
    if "timezone" in what:
        return member, NEEDS_ZONE
    if "RFC3339" in what:
        return member, "not a time; write it as 2026-01-31T12:00:00Z or in Unix seconds"
    if "Expected `int`" in what or "out of range" in what:
        return member, "a number too large for the contract"
    return member, printable(what.replace("`", ""))


def suggestion(name: str, known: list[str]) -> str:
    """`; did you mean 'alt_text'?`, or nothing where no known name is near."""
    name = name.strip().lower()
    if name in _OTHER_NAMES and _OTHER_NAMES[name] in known:
        return f"; did you mean {_OTHER_NAMES[name]!r}?"
    # Names of a person's making are short; a longer one is no slip of the pen, and comparing it would take long.
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6) if len(name) <= 60 else []
    return f"; did you mean {near[0]!r}?" if near else ""


def is_media_id(text: str) -> bool:
    """Whether a text is 1 to 19 ASCII digits."""
    return re.search(MEDIA_ID_PATTERN, text) is not None


def _unknown(name: str, steps: list[str], root: type[msgspec.Struct]) -> str:
    refused = "is not a member of the contract"
    within = "metadata." if "metadata" in root.__struct_fields__ else ""
    if name in SHORT_FORMS and (not steps or steps == ["metadata"]):
        return f"{refused}; the wire's shape is {within}{'.'.join(SHORT_FORMS[name])}"
    at = _struct_at(root, steps)
    if at is None:
        return refused
    known = [field.encode_name for field in msgspec.structs.fields(at)]
    inner = _struct_at(root, ["metadata"]) if within and not steps else None
    if inner is not None and name in inner.__struct_fields__:
        return f"{refused}; it belongs in metadata"
    return refused + suggestion(name, known)


def _struct_at(root: type[msgspec.Struct], steps: list[str]) -> type[msgspec.Struct] | None:
    """The struct that a path of field names leads to."""
    at: msgspec.inspect.Type = msgspec.inspect.type_info(root)
    for step in [*steps, None]:
        kinds = at.types if isinstance(at, msgspec.inspect.UnionType) else (at,)
        struct = next((kind for kind in kinds if isinstance(kind, msgspec.inspect.StructType)), None)
        if step is None:
            return struct.cls if struct is not None else None
        if step.startswith("["):
            at = next((kind.item_type for kind in kinds if isinstance(kind, msgspec.inspect.ListType)), at)
        elif struct is None:
            return None
        else:
            at = next((field.type for field in struct.fields if field.encode_name == step), at)
    return None


def _wrong_type(expected: str, got: str, steps: list[str], values: list[object]) -> str:
    types = re.split(r"\s*\|\s*", expected)
    if "int" in types and got == "float":
        return f"must be a whole number, without a point or an exponent{_shown(values)}"
    if expected == "str" and got in ("int", "float"):
        lossy = ": a number may lose its last digits on the way" if steps and steps[-1] in ("id", "media") else ""
        return f"must be text in quotes, not a number{_shown(values)}{lossy}"
    # An aware time was turned into seconds before (`shortform.expand`).
    if expected == "int" and got == "datetime":
        return NEEDS_ZONE
    if expected == "float" and got == "null":
        return "must be a finite number"
    wanted = " or ".join(_TYPE_NAMES.get(name, name) for name in types)
    if got == "object" and values and not isinstance(values[0], Mapping):
        return f"must be {wanted}, not of the class {type(values[0]).__name__}"
    return f"must be {wanted}, not {_TYPE_NAMES.get(got, printable(got, 60))}"


def _shown(values: list[object]) -> str:
    number = next((value for value in values if isinstance(value, int | float)), None)
    # A longer one says no more, and Python refuses to write one of more than 4,300 digits.
    return f" ({number})" if number is not None and abs(number) < 1e30 else ""


def _id_rule(value: str) -> str:
    if key := _MEDIA_KEY.match(value):
        return f"{value!r} is a media key; the media id is what follows the underscore: {key[1]!r}"
    if not value:
        return "is empty; a media id has 1 to 19 digits"
    if value.isascii() and value.isdigit():
        return f"{counted(len(value), 'digit')}, {len(value) - 19} too many (at most 19)"
    return f"{printable(repr(value), 40)} is not a media id (1 to 19 digits)"


def _country_rule(value: str) -> str:
    return f"{printable(repr(value), 40)} is not a country code of two letters (ISO 3166-1 alpha-2)"


def _length_rule(kind: str, sign: str, bound: int, raw: object, steps: list[str]) -> str:
    def breaks(value: object) -> bool:
        length = _length(value)
        return length is not None and (length > bound if sign == "<=" else length < bound)

    length = _length(_first(raw, steps, breaks)) or 0
    noun = "character" if kind == "str" else steps[-1].removesuffix("s") if steps else "entry"
    if sign == "<=":
        return f"{counted(length, noun)}, {length - bound:,} too many (at most {bound:,})"
    return f"is empty (at least {counted(bound, noun)})"


def _length(value: object) -> int | None:
    return len(cast("Sized", value)) if isinstance(value, str | list | tuple) else None


def _values(at: object, steps: list[str]) -> Iterator[object]:
    """Every value that a path may mean; `[...]` stands for any index, since msgspec does not tell which."""
    if not steps:
        yield at
    elif steps[0].startswith("["):
        if isinstance(at, list | tuple):
            for item in cast("Iterable[object]", at):
                yield from _values(item, steps[1:])
    elif isinstance(at, Mapping) and steps[0] in at:
        yield from _values(cast("Mapping[str, object]", at)[steps[0]], steps[1:])


def _first(raw: object, steps: list[str], breaks: Callable[[object], bool]) -> object:
    return next((value for value in _values(raw, steps) if breaks(value)), "")


def _dotted(steps: list[str]) -> str:
    """`metadata.sticker_info.stickers[].id`."""
    text = ""
    for step in steps:
        text += "[]" if step.startswith("[") else f".{printable(step, 60)}" if text else printable(step, 60)
    return text
