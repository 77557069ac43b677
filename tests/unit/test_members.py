"""The 13 members against X's published contract, and every bound on both sides."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from xmediameta import (
    AllowDownloadStatus,
    AltText,
    AudiencePolicy,
    ContentExpiration,
    DomainRestrictions,
    FoundMediaOrigin,
    GeoRestrictions,
    ManagementInfo,
    MediaKey,
    Metadata,
    PreviewImage,
    SensitiveMediaWarning,
    SharedInfo,
    Sticker,
    StickerInfo,
    Update,
    UploadSource,
)

SPEC = Path(__file__).parents[3] / "shared" / "spec" / "media-metadata-2.159.openapi.json"
MEMBERS = {
    "allow_download_status": AllowDownloadStatus,
    "alt_text": AltText,
    "audience_policy": AudiencePolicy,
    "content_expiration": ContentExpiration,
    "domain_restrictions": DomainRestrictions,
    "found_media_origin": FoundMediaOrigin,
    "geo_restrictions": GeoRestrictions,
    "management_info": ManagementInfo,
    "preview_image": PreviewImage,
    "sensitive_media_warning": SensitiveMediaWarning,
    "shared_info": SharedInfo,
    "sticker_info": StickerInfo,
    "upload_source": UploadSource,
}
STRUCTS = [*MEMBERS.values(), MediaKey, Sticker, Metadata]
# Bounds that stand only in a description.
IN_WORDS = re.compile(r"<= (\d+) characters", re.IGNORECASE)


class Contract:
    """X's schemas, walked beside our structs; every difference is one line."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.schemas: dict[str, Any] = document["components"]["schemas"]
        self.differences: list[str] = []
        self.compared = 0

    def compare(self, schema: dict[str, Any], kind: inspect.Type, path: str) -> None:
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        self.compared += 1
        if "oneOf" in schema:
            for one in schema["oneOf"]:
                # Which of the two lists may be filled is a rule that joins members; `models` checks it.
                self._object(one, kind, path, required=False)
        else:
            getattr(self, f"_{schema['type']}")(schema, kind, path)

    def _same(self, path: str, what: str, theirs: object, ours: object) -> None:
        if theirs != ours:
            self.differences.append(f"{path}: {what} is {theirs!r}, ours {ours!r}")

    def _object(self, schema: dict[str, Any], kind: inspect.Type, path: str, *, required: bool = True) -> None:
        assert isinstance(kind, inspect.StructType), path
        self._same(path, "unknown members", True, kind.forbid_unknown_fields)
        fields = {field.encode_name: field for field in kind.fields}
        self._same(path, "members", schema["properties"].keys(), fields.keys())
        if required:
            self._same(path, "required", set(schema.get("required", [])), {n for n, f in fields.items() if f.required})
        for name, field in fields.items():
            absent = next(one.default for one in msgspec.structs.fields(kind.cls) if one.encode_name == name)
            self._same(f"{path}.{name}", "absent", not field.required, absent is msgspec.UNSET)
            self.compare(schema["properties"][name], without_unset(field.type), f"{path}.{name}")

    def _array(self, schema: dict[str, Any], kind: inspect.Type, path: str) -> None:
        assert isinstance(kind, inspect.CollectionType | inspect.ListType), path
        bounds = (None, None)
        if "must not be empty and should not exceed 25" in schema.get("description", ""):
            bounds = (1, 25)
        self._same(path, "bounds", bounds, (kind.min_length, kind.max_length))
        self.compare(schema["items"], inner(kind.item_type), f"{path}[]")

    def _string(self, schema: dict[str, Any], kind: inspect.Type, path: str) -> None:
        if "enum" in schema:
            assert isinstance(kind, inspect.LiteralType), path
            self._same(path, "enum", sorted(schema["enum"]), sorted(kind.values))
            return
        assert isinstance(kind, inspect.StrType), path
        words = IN_WORDS.search(schema.get("description", ""))
        longest = schema.get("maxLength") or (int(words[1]) if words else None)
        self._same(path, "maxLength", longest, kind.max_length)
        self._same(path, "minLength", schema.get("minLength"), kind.min_length)
        # In ECMA's dialect `$` is the end; in Python's it is also before a last newline, hence our look-ahead.
        self._same(path, "pattern", schema.get("pattern"), kind.pattern and kind.pattern.removesuffix(r"(?!\n)"))

    def _number(self, schema: dict[str, Any], kind: inspect.Type, path: str) -> None:
        wanted: inspect.Type = inspect.FloatType()
        if schema["format"] == "long":
            wanted = inspect.IntType(ge=-(2**63), le=2**63 - 1)
        self._same(path, schema["format"], wanted, kind)

    def _boolean(self, schema: dict[str, Any], kind: inspect.Type, path: str) -> None:
        self._same(path, "type", inspect.BoolType(), kind)


def without_unset(kind: inspect.Type) -> inspect.Type:
    """The type of a member that may be absent, without its absence; none may be null."""
    if isinstance(kind, inspect.UnionType):
        (kind,) = (one for one in kind.types if not isinstance(one, inspect.UnsetType))
    return inner(kind)


def inner(kind: inspect.Type) -> inspect.Type:
    """The type without its description, which is ours."""
    return kind.type if isinstance(kind, inspect.Metadata) else kind


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    if not SPEC.exists():
        pytest.skip("the contract is not here")
    loaded: dict[str, Any] = json.loads(SPEC.read_text("utf-8"))
    return loaded


def test_every_member_type_enum_pattern_and_bound_is_the_contracts(document: dict[str, Any]) -> None:
    contract = Contract(document)
    schema = contract.schemas["MetadataCreateRequest"]["properties"]["metadata"]
    contract.compare(schema, inspect.type_info(Metadata), "metadata")
    assert contract.differences == []
    # 1 of metadata, 13 members, and what is in them: a walk that ends early compares nothing.
    assert contract.compared == 54


def test_the_walk_would_tell(document: dict[str, Any]) -> None:
    """The comparison itself is tested: a contract that says otherwise gives a difference for each change."""
    changed = json.loads(json.dumps(document))
    schemas = changed["components"]["schemas"]
    schemas["AltText"]["properties"]["text"]["maxLength"] = 999
    schemas["FoundMediaOrigin"]["properties"]["provider"]["description"] = "( <= 9 Characters )"
    schemas["FoundMediaOrigin"]["required"] = ["provider"]
    schemas["MediaId"]["pattern"] = "^[0-9]{1,20}$"
    schemas["Sticker"]["properties"]["group_annotation_id"]["format"] = "double"
    schemas["SharedInfo"]["properties"]["also"] = {"type": "boolean"}
    schemas["AudiencePolicy"]["properties"]["x_subscriptions"]["items"]["enum"] = ["Any", "Some"]
    schemas["StickerInfo"]["properties"]["stickers"]["description"] = ""
    contract = Contract(changed)
    schema = schemas["MetadataCreateRequest"]["properties"]["metadata"]
    contract.compare(schema, inspect.type_info(Metadata), "metadata")
    assert sorted(line.partition(" is ")[0] for line in contract.differences) == [
        "metadata.alt_text.text: maxLength",
        "metadata.audience_policy.x_subscriptions[]: enum",
        "metadata.found_media_origin.provider: maxLength",
        "metadata.found_media_origin: required",
        "metadata.preview_image.media_key.media: pattern",
        "metadata.shared_info: members",
        "metadata.sticker_info.stickers: bounds",
        "metadata.sticker_info.stickers[].group_annotation_id: double",
    ]


def test_the_update_itself(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    request = schemas["MetadataCreateRequest"]
    fields = {field.encode_name: field for field in msgspec.structs.fields(Update)}
    assert request["properties"].keys() == fields.keys() - {"account", "ref", "send_before"}
    assert request["required"] == [name for name, field in fields.items() if field.required]
    kind = inner(inspect.type_info(fields["id"].type))
    assert isinstance(kind, inspect.StrType)
    assert kind.pattern == schemas["MediaId"]["pattern"] + r"(?!\n)"


def test_the_thirteen_members() -> None:
    fields = {
        field.encode_name: without_unset(inspect.type_info(field.type)) for field in msgspec.structs.fields(Metadata)
    }
    assert {name: kind.cls for name, kind in fields.items() if isinstance(kind, inspect.StructType)} == MEMBERS


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
class TestEveryStruct:
    def test_it_is_immutable_and_lean(self, struct: type[msgspec.Struct]) -> None:
        config = struct.__struct_config__
        assert (config.frozen, config.gc, config.omit_defaults, config.forbid_unknown_fields) == (
            True,
            False,
            True,
            True,
        )

    def test_an_unknown_member_and_null_are_refused(self, struct: type[msgspec.Struct]) -> None:
        fields = msgspec.structs.fields(struct)
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"surprise": 1}, struct)
        for field in fields:
            with pytest.raises(msgspec.ValidationError, match="null"):
                msgspec.convert({field.encode_name: None}, struct)


def fits(struct: type[msgspec.Struct], value: object) -> bool:
    try:
        decoded = msgspec.json.decode(msgspec.json.encode(value), type=struct)
    except msgspec.ValidationError:
        return False
    # What fits is written again as it was read.
    return bool(msgspec.json.decode(msgspec.json.encode(decoded)) == value)


DIGITS = "1234567890123456789"


@pytest.mark.parametrize(
    ("struct", "good", "bad"),
    [
        (AllowDownloadStatus, [{}, {"allow_download": True}, {"allow_download": False}],
         [{"allow_download": 1}, {"allow_download": "true"}, {"allow_download": None}, []]),
        (AltText, [{"text": ""}, {"text": "x" * 1000}, {"text": "\U0001f408" * 1000}, {"text": "e\u0301" * 500}],
         [{}, {"text": "x" * 1001}, {"text": "\U0001f408" * 1001}, {"text": None}, {"text": 1}, {"text": ["x"]}, "x"]),
        (AudiencePolicy,
         [{}, {"creator_subscriptions": []}, {"creator_subscriptions": ["Any"], "x_subscriptions": ["Any", "Any"]}],
         [{"creator_subscriptions": ["any"]}, {"x_subscriptions": ["Any", ""]}, {"x_subscriptions": "Any"},
          {"x_subscriptions": [None]}]),
        (ContentExpiration,
         [{"timestamp_sec": value} for value in (0, 1740787200, -1, 2**63 - 1, -(2**63))],
         [{}, *({"timestamp_sec": value} for value in (2**63, -(2**63) - 1, 1.5, "1740787200", None, True, []))]),
        (DomainRestrictions, [{"whitelist": []}, {"whitelist": ["a.example", "", "bücher.example"]}],
         [{}, {"whitelist": [1]}, {"whitelist": "a.example"}, {"whitelist": None}, {"whitelist": [None]}]),
        (FoundMediaOrigin,
         [{"provider": "giphy678", "id": "x" * 24}, {"provider": "", "id": ""},
          {"provider": "\U0001f408" * 8, "id": "\U0001f408" * 24}],
         [{"provider": "giphy6789", "id": "x"}, {"provider": "giphy", "id": "x" * 25}, {"provider": "giphy"},
          {"id": "x"}, {"provider": 1, "id": "x"}, {"provider": "x", "id": 1}]),
        (GeoRestrictions,
         [{}, {"whitelisted_country_codes": ["us", "DE", "Fr"], "blacklisted_country_codes": []}],
         [{"whitelisted_country_codes": [code]} for code in ("u", "usa", "", "u1", "üß", "us\n", " us", "u\u212a", 1)]),
        (ManagementInfo, [{"managed": True}, {"managed": False}], [{}, {"managed": 0}, {"managed": None}]),
        (MediaKey, [{}, {"media": "1"}, {"media": DIGITS, "media_category": "TweetImage"}],
         [{"media": ""}, {"media": DIGITS + "0"}, {"media": "1\n"}, {"media": 1}, {"media": "٣"}, {"media": "-1"},
          {"media": " 1"}, {"media_category": "TweetVideo"}, {"media_category": "tweetimage"}]),
        (PreviewImage, [{"media_key": {}}, {"media_key": {"media": DIGITS}}],
         [{}, {"media_key": None}, {"media_key": DIGITS}, {"media_key": {"id": "1"}}]),
        (SensitiveMediaWarning, [{}, {"adult_content": True, "graphic_violence": False, "other": True}],
         [{"adult_content": None}, {"other": "yes"}, {"other_sensitive": True}]),
        (SharedInfo, [{"shared": True}], [{}, {"shared": None}, {"shared": "false"}]),
        (Sticker, [{}, {"id": "", "aspect_ratio": -1.5, "group_annotation_id": 2**63 - 1}, {"transform_a": 1e308},
                   {"sticker_set_annotation_id": -(2**63), "transform_tx": 10.5, "transform_ty": -5.25}],
         [{"id": 1}, {"aspect_ratio": "1.78"}, {"group_annotation_id": 2**63}, {"group_annotation_id": 1.5},
          {"transform_a": None}, {"transform_b": True}, {"transform_e": 1.0}]),
        (StickerInfo, [{"stickers": [{}]}, {"stickers": [{"id": "1"}] * 25}],
         [{}, {"stickers": []}, {"stickers": [{}] * 26}, {"stickers": {}}, {"stickers": [None]}]),
        (UploadSource, [{"upload_source": ""}, {"upload_source": "x" * 100_000}], [{}, {"upload_source": None}]),
    ],
)  # fmt: skip
def test_what_just_fits_and_what_does_not(struct: type[msgspec.Struct], good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not fits(struct, value)] == []
    assert [value for value in bad if fits(struct, value)] == []


def test_every_member_has_a_row_above() -> None:
    marks = test_what_just_fits_and_what_does_not.pytestmark  # type: ignore[attr-defined]
    assert {row[0] for row in marks[0].args[1]} == set(STRUCTS) - {Metadata}


def test_absent_members_are_neither_sent_nor_shown() -> None:
    assert msgspec.json.encode(Sticker(id="1")) == b'{"id":"1"}'
    assert repr(Metadata(alt_text=AltText("x"))) == "Metadata(alt_text=AltText(text='x'))"
