"""The short forms: one flat name for each thing that the 13 members say.

`Metadata.of` and the columns of a table share this list. `alt_text="…"` stands for
`{"alt_text": {"text": "…"}}`, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, cast

SHORT_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "alt_text": ("alt_text", "text"),
    "allow_download": ("allow_download_status", "allow_download"),
    "adult_content": ("sensitive_media_warning", "adult_content"),
    "graphic_violence": ("sensitive_media_warning", "graphic_violence"),
    "other_sensitive": ("sensitive_media_warning", "other"),
    "allowed_countries": ("geo_restrictions", "whitelisted_country_codes"),
    "blocked_countries": ("geo_restrictions", "blacklisted_country_codes"),
    "content_expires_at": ("content_expiration", "timestamp_sec"),
    "allowed_domains": ("domain_restrictions", "whitelist"),
    "managed": ("management_info", "managed"),
    "shared": ("shared_info", "shared"),
    "upload_source": ("upload_source", "upload_source"),
    "origin_provider": ("found_media_origin", "provider"),
    "origin_id": ("found_media_origin", "id"),
    "preview_media_id": ("preview_image", "media_key", "media"),
    "creator_subscriptions": ("audience_policy", "creator_subscriptions"),
    "x_subscriptions": ("audience_policy", "x_subscriptions"),
    "stickers": ("sticker_info", "stickers"),
}
SHORT_NAMES: Final = {path: name for name, path in SHORT_FORMS.items()}


def short_name(member: str) -> str:
    """The short form for a dotted path of the wire's shape, what follows it kept; the path itself where none fits."""
    for path, name in SHORT_NAMES.items():
        dotted = ".".join(path)
        rest = member.removeprefix(dotted)
        if member.startswith(dotted) and rest[:1] in ("", ".", "["):
            return name if rest == "[]" else name + rest
    return member


def expand(flat: Mapping[str, object]) -> dict[str, object]:
    """The wire's shape of short forms; None is absent.

    One geo list brings the other as empty, a preview image brings its only category, and an aware datetime
    becomes Unix seconds. A naive datetime is left as it is, for the contract to refuse.
    """
    wire: dict[str, object] = {}
    for name, value in flat.items():
        if value is not None:
            put(wire, SHORT_FORMS[name], _seconds(value))
    complete(wire)
    return wire


def complete(wire: dict[str, object]) -> None:
    """Fill in what a short form implies: the other geo list as empty, the preview image's only category."""
    geo = _object(wire.get("geo_restrictions"))
    if geo:
        geo.setdefault("whitelisted_country_codes", [])
        geo.setdefault("blacklisted_country_codes", [])
    key = _object(_object(wire.get("preview_image")).get("media_key"))
    if key:
        key.setdefault("media_category", "TweetImage")


def put(wire: dict[str, object], path: tuple[str, ...], value: object) -> None:
    """Set the value at a dotted path of the wire's shape, making the objects on the way."""
    *parents, last = path
    at = wire
    for parent in parents:
        step = at.setdefault(parent, {})
        if not isinstance(step, dict):
            return
        at = cast("dict[str, object]", step)
    at[last] = value


def _seconds(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return int(value.timestamp())
    return value


def _object(value: object) -> dict[str, object]:
    """The object itself, to be filled in; for anything else an empty one that nobody keeps."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
