"""What is sent: `Metadata`, exactly of the wire's shape, and `Update`, one row of work.

Decoding and converting check types, patterns and bounds; a struct made by hand is checked before it is sent, since
msgspec does not check constructors. Rules that join members ("exactly one geo list is not empty") are `broken_rule`;
`strict=False` sets aside these and no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Self, cast
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from .errors import InvalidUpdate
from .explain import MILLISECONDS, SURROGATE, Fault, explain
from .handbuilt import LAST_SECOND, note_fault, unlike
from .members import (
    AllowDownloadStatus,
    AltText,
    AudiencePolicy,
    ContentExpiration,
    DomainRestrictions,
    FoundMediaOrigin,
    GeoRestrictions,
    Long,
    ManagementInfo,
    MediaId,
    PreviewImage,
    SensitiveMediaWarning,
    SharedInfo,
    Sticker,
    StickerInfo,
    UploadSource,
)
from .shortform import expand, short_name
from .text import HALF_PAIR, printable

_NOT_IN_JSON: Final = (bytes, bytearray, memoryview, datetime, date, time, timedelta, UUID, Decimal)

Moment = int | float | Annotated[datetime, Meta(tz=True)]


class Metadata(
    Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, repr_omit_defaults=True
):
    """The metadata of one media, in the wire's shape; an absent member is `UNSET`.

    Whether a later call merges with what X has, or replaces it, is not known: treat neither as given.
    """

    allow_download_status: AllowDownloadStatus | UnsetType = UNSET
    alt_text: AltText | UnsetType = UNSET
    audience_policy: AudiencePolicy | UnsetType = UNSET
    content_expiration: ContentExpiration | UnsetType = UNSET
    domain_restrictions: DomainRestrictions | UnsetType = UNSET
    found_media_origin: FoundMediaOrigin | UnsetType = UNSET
    geo_restrictions: GeoRestrictions | UnsetType = UNSET
    management_info: ManagementInfo | UnsetType = UNSET
    preview_image: PreviewImage | UnsetType = UNSET
    sensitive_media_warning: SensitiveMediaWarning | UnsetType = UNSET
    shared_info: SharedInfo | UnsetType = UNSET
    sticker_info: StickerInfo | UnsetType = UNSET
    upload_source: UploadSource | UnsetType = UNSET

    @classmethod
    def of(
        cls,
        *,
        alt_text: str | None = None,
        allow_download: bool | None = None,
        adult_content: bool | None = None,
        graphic_violence: bool | None = None,
        other_sensitive: bool | None = None,
        allowed_countries: Sequence[str] | None = None,
        blocked_countries: Sequence[str] | None = None,
        content_expires_at: datetime | int | None = None,
        allowed_domains: Sequence[str] | None = None,
        managed: bool | None = None,
        shared: bool | None = None,
        upload_source: str | None = None,
        origin_provider: str | None = None,
        origin_id: str | None = None,
        preview_media_id: str | None = None,
        creator_subscriptions: Sequence[str] | None = None,
        x_subscriptions: Sequence[str] | None = None,
        stickers: Sequence[Sticker | Mapping[str, object]] | None = None,
    ) -> Self:
        """Metadata from its short forms; None leaves a member out.

        Args:
            alt_text: at most 1,000 characters.
            allowed_countries, blocked_countries: two-letter codes; give one of them, the other is sent empty.
            content_expires_at: an aware datetime, or Unix seconds.
            origin_provider, origin_id: at most 8 and 24 characters; both or neither.
            creator_subscriptions, x_subscriptions: `["Any"]` or `[]`.
            stickers: 1 to 25.

        Raises:
            InvalidUpdate: a value that the contract does not allow; names the short form and the rule.
        """
        given = {name: value for name, value in locals().items() if name != "cls" and value is not None}
        plain: dict[str, object] = {}
        for name, value in given.items():
            # A set has no order, and what is sent twice must be written alike.
            if isinstance(value, set | frozenset):
                raise InvalidUpdate(name, "must be a list, not a set")
            plain[name] = _plain(value, name)
        return cast("Self", _convert(expand(plain), cls))


class Update(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True, repr_omit_defaults=True):
    """One update: which media, what to set, and the caller's own notes, which are never sent.

    Attributes:
        id: the media id, 1 to 19 digits as text.
        metadata: what to set.
        account: the name of the account that uploaded the media; None for a client with one credential.
        ref: the caller's own name for the row, kept on every outcome.
        send_before: an aware datetime or Unix seconds; what cannot be sent in time is not sent.
    """

    id: MediaId
    metadata: Metadata | UnsetType = UNSET
    account: str | None = None
    ref: str | Long | None = None
    send_before: Moment | None = None

    @classmethod
    def from_mapping(cls, line: Mapping[str, Any]) -> Update:
        """An update from the shape of an input line: the request body, plus `account`, `ref`, `send_before`.

        Raises:
            InvalidUpdate: names the member and the rule.
        """
        update = cast("Update", _convert(dict(line), cls))
        check_notes(update)
        return update

    def check(self, *, strict: bool = True) -> None:
        """Check an update that was built by hand.

        Raises:
            InvalidUpdate: names the member and the rule.
        """
        check_notes(self)
        read = _convert(_plain(self), type(self))
        check_text(self)
        fault = unlike(self, read)
        if fault is not None:
            raise InvalidUpdate(*fault)
        if strict:
            check_rules(self)

    @property
    def deadline(self) -> float | None:
        """`send_before` in Unix seconds."""
        moment = self.send_before
        return moment.timestamp() if isinstance(moment, datetime) else moment


_decoder: Final = msgspec.json.Decoder(Update)


def decode_update(line: bytes | bytearray | memoryview, *, strict: bool = True) -> Update:
    """An update from a line of JSON.

    Raises:
        InvalidUpdate: broken JSON, a text that is not UTF-8, or a broken rule of the contract.
    """
    try:
        update = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = _json_fault(error, line)
    else:
        if update.send_before is not None:
            check_notes(update)
        if strict:
            check_rules(update)
        return update
    raise InvalidUpdate(*fault)


def check_rules(update: Update) -> None:
    """Raise `InvalidUpdate` where a rule that joins members is broken."""
    fault = broken_rule(update)
    if fault is not None:
        raise InvalidUpdate(*fault)


def broken_rule(update: Update) -> Fault | None:
    """The member and the rule, where an update of the right types breaks a rule that joins members."""
    metadata = update.metadata
    if metadata is UNSET:
        return "metadata", "is missing: the update would set nothing (strict=False sends it all the same)"
    geo = metadata.geo_restrictions
    if geo is not UNSET:
        allowed, blocked = geo.whitelisted_country_codes, geo.blacklisted_country_codes
        if allowed is UNSET or blocked is UNSET:
            absent = "whitelisted_country_codes" if allowed is UNSET else "blacklisted_country_codes"
            return "metadata.geo_restrictions", f"{absent} must be there too, as an empty list"
        if bool(allowed) == bool(blocked):
            state = "both are filled" if allowed else "both are empty"
            return (
                "metadata.geo_restrictions",
                f"exactly one of whitelisted_country_codes and blacklisted_country_codes must hold countries; {state}",
            )
    expiration = metadata.content_expiration
    if expiration is not UNSET and expiration.timestamp_sec > LAST_SECOND:
        return "metadata.content_expiration.timestamp_sec", MILLISECONDS
    if metadata == _NOTHING:
        return "metadata", "is empty: the update would set nothing (strict=False sends it all the same)"
    return None


_NOTHING: Final = Metadata()


def check_text(update: Update) -> None:
    """Raise `InvalidUpdate` for what JSON in UTF-8 cannot carry: lone surrogates, infinite numbers."""
    written = b""
    try:
        written = msgspec.json.encode(update)
        msgspec.json.decode(written, type=type(update))
    except UnicodeEncodeError:
        fault = ("", SURROGATE)
    except msgspec.DecodeError as error:
        fault = _json_fault(error, written)
    except (TypeError, OverflowError, ValueError, RecursionError) as error:
        fault = ("", printable(str(error)))
    else:
        return
    raise InvalidUpdate(*fault)


def check_notes(update: Update) -> None:
    """Raise `InvalidUpdate` for an `account`, `ref` or `send_before` that cannot be kept."""
    fault = note_fault(update.account, update.ref, update.send_before)
    if fault is not None:
        raise InvalidUpdate(*fault)


def line_schema() -> dict[str, Any]:
    """The JSON Schema of an input line."""
    schema = msgspec.json.schema(Update)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "xmediameta input line"
    return schema


def utc(seconds: float) -> datetime:
    """Unix seconds as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def _plain(value: object, member: str = "") -> object:
    """The value as plain objects. What JSON has no type for stays what it is, for the contract to refuse."""
    try:
        return msgspec.to_builtins(value, builtin_types=_NOT_IN_JSON)
    except UnicodeEncodeError:
        rule = SURROGATE
    except RecursionError:
        rule = "nested too deeply"
    except (TypeError, ValueError) as error:
        rule = printable(str(error))
    raise InvalidUpdate(member, rule)


def _convert(plain: object, kind: type[Struct]) -> Struct:
    try:
        return msgspec.convert(plain, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        member, rule = explain(error, plain, kind)
    if not issubclass(kind, Update):
        member = short_name(member)
    raise InvalidUpdate(member, rule)


def _json_fault(error: Exception, line: bytes | bytearray | memoryview) -> Fault:
    """What is wrong with a line that was refused; a line that is not JSON at all comes before any broken rule."""
    raw: object = None
    if isinstance(error, msgspec.ValidationError):
        try:
            raw = msgspec.json.decode(line)
        except msgspec.ValidationError:
            return "", "holds a number out of range"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as worse:
            error = worse
    if isinstance(error, msgspec.ValidationError | RecursionError):
        return explain(error, raw, Update)
    if HALF_PAIR.search(line):
        return "", SURROGATE
    return "", _not_utf8(bytes(line)) or f"broken JSON: {error}"


def _not_utf8(line: bytes) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        spot = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
        return f"is not UTF-8 ({spot}; the file may be in latin-1 or UTF-16)"
    return ""
