"""The 13 members of `metadata` as the wire has them.

Types, patterns, enums and bounds are those of X's OpenAPI document 2.159, with the four bounds that stand only in its
descriptions (provider, origin id, stickers, alt text). Rules that join two members are not here: `models` checks them.
An absent member is `UNSET`, since the contract knows no null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

# `$` alone also matches before a final newline; the look-ahead does not let one through.
MEDIA_ID_PATTERN: Final = r"^[0-9]{1,19}$(?!\n)"
_COUNTRY_PATTERN: Final = r"^[a-zA-Z]{2}$(?!\n)"
_INT64: Final = 2**63

MediaId = Annotated[str, Meta(pattern=MEDIA_ID_PATTERN, description="Digits, 1 to 19, always as text.")]
CountryCode = Annotated[str, Meta(pattern=_COUNTRY_PATTERN, description="ISO 3166-1 alpha-2, either case.")]
Long = Annotated[int, Meta(ge=-_INT64, le=_INT64 - 1)]
Subscription = Literal["Any"]


class _Member(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True, repr_omit_defaults=True):
    """What all members share: immutable, no unknown names, absent values neither sent nor shown."""


class AllowDownloadStatus(_Member, frozen=True, gc=False):
    """Whether viewers may download the media."""

    allow_download: bool | UnsetType = UNSET


class AltText(_Member, frozen=True, gc=False):
    """The description that screen readers speak: at most 1,000 characters (code points)."""

    text: Annotated[str, Meta(max_length=1000)]


class AudiencePolicy(_Member, frozen=True, gc=False):
    """Which subscribers may see the media; `"Any"` is the only value that X publishes."""

    creator_subscriptions: Sequence[Subscription] | UnsetType = UNSET
    x_subscriptions: Sequence[Subscription] | UnsetType = UNSET


class ContentExpiration(_Member, frozen=True, gc=False):
    """When the content expires, in Unix seconds."""

    timestamp_sec: Long


class DomainRestrictions(_Member, frozen=True, gc=False):
    """The domains on which the media may be shown."""

    whitelist: Sequence[str]


class FoundMediaOrigin(_Member, frozen=True, gc=False):
    """Where found media came from: provider at most 8 characters, id at most 24."""

    provider: Annotated[str, Meta(max_length=8)]
    id: Annotated[str, Meta(max_length=24)]


class GeoRestrictions(_Member, frozen=True, gc=False):
    """Where the media may be shown: both lists present, exactly one of them not empty."""

    whitelisted_country_codes: Sequence[CountryCode] | UnsetType = UNSET
    blacklisted_country_codes: Sequence[CountryCode] | UnsetType = UNSET


class ManagementInfo(_Member, frozen=True, gc=False):
    """Whether Media Studio manages the media."""

    managed: bool


class MediaKey(_Member, frozen=True, gc=False):
    """The image that serves as a preview."""

    media: MediaId | UnsetType = UNSET
    media_category: Literal["TweetImage"] | UnsetType = UNSET


class PreviewImage(_Member, frozen=True, gc=False):
    """The preview of a video."""

    media_key: MediaKey


class SensitiveMediaWarning(_Member, frozen=True, gc=False):
    """The warnings that are laid over the media."""

    adult_content: bool | UnsetType = UNSET
    graphic_violence: bool | UnsetType = UNSET
    other: bool | UnsetType = UNSET


class SharedInfo(_Member, frozen=True, gc=False):
    """Whether the media is shared in direct messages."""

    shared: bool


class Sticker(_Member, frozen=True, gc=False, kw_only=True):
    """One sticker: its identifiers, its shape and the affine transform that places it."""

    id: str | UnsetType = UNSET
    aspect_ratio: float | UnsetType = UNSET
    group_annotation_id: Long | UnsetType = UNSET
    sticker_set_annotation_id: Long | UnsetType = UNSET
    transform_a: float | UnsetType = UNSET
    transform_b: float | UnsetType = UNSET
    transform_c: float | UnsetType = UNSET
    transform_d: float | UnsetType = UNSET
    transform_tx: float | UnsetType = UNSET
    transform_ty: float | UnsetType = UNSET


class StickerInfo(_Member, frozen=True, gc=False):
    """1 to 25 stickers."""

    stickers: Annotated[Sequence[Sticker], Meta(min_length=1, max_length=25)]


class UploadSource(_Member, frozen=True, gc=False):
    """The app or device that the media was uploaded from."""

    upload_source: str
