"""The sandbox's contract checks, against X's published OpenAPI documents where those are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmediameta.sandbox import Sandbox
from xmediameta.sandbox.contract import Accepted, Violation, check

from .conftest import MEDIA_ID

SPEC = Path(__file__).parents[3] / "shared" / "spec"
GEO = "metadata.geo_restrictions"

EVERYTHING = {
    "allow_download_status": {"allow_download": True},
    "alt_text": {"text": "x" * 1000},
    "audience_policy": {"creator_subscriptions": ["Any"], "x_subscriptions": []},
    "content_expiration": {"timestamp_sec": 1740787200},
    "domain_restrictions": {"whitelist": ["example.com", ""]},
    "found_media_origin": {"provider": "giphy123", "id": "u" * 24},
    "geo_restrictions": {"whitelisted_country_codes": ["us", "DE"], "blacklisted_country_codes": []},
    "management_info": {"managed": False},
    "preview_image": {"media_key": {"media": "1", "media_category": "TweetImage"}},
    "sensitive_media_warning": {"adult_content": True, "graphic_violence": False, "other": True},
    "shared_info": {"shared": True},
    "sticker_info": {"stickers": [{"id": "1", "aspect_ratio": 1.78, "group_annotation_id": 987654321098765,
                                   "sticker_set_annotation_id": 1, "transform_a": 1, "transform_b": 0.5,
                                   "transform_c": 0, "transform_d": 1, "transform_tx": 10.5, "transform_ty": -5.2}]},
    "upload_source": {"upload_source": "gallery"},
}  # fmt: skip

GOOD: list[Any] = [
    {"id": "1"},
    {"id": "9" * 19, "metadata": {}},
    {"id": "0", "metadata": EVERYTHING},
    {"id": "1", "metadata": {"geo_restrictions": {"whitelisted_country_codes": [],
                                                  "blacklisted_country_codes": ["us"]}}},
    {"id": "1", "metadata": {"preview_image": {"media_key": {}}}},
    {"id": "1", "metadata": {"sticker_info": {"stickers": [{}] * 25}}},
    {"id": "1", "metadata": {"alt_text": {"text": "\U0001f408" * 1000}}},
    {"id": "1", "metadata": {"sensitive_media_warning": {}, "audience_policy": {}, "allow_download_status": {}}},
]  # fmt: skip

# A body, and the member that the 400 must name.
BAD: list[tuple[Any, str]] = [
    ([], ""),
    ({}, "id"),
    ({"id": 1}, "id"),
    ({"id": ""}, "id"),
    ({"id": "1" * 20}, "id"),
    ({"id": "3_1"}, "id"),
    ({"id": "1\n"}, "id"),
    ({"id": "1", "metadata": None}, "metadata"),
    ({"id": "1", "metadata": {"alt_text": "flat"}}, "metadata.alt_text"),
    ({"id": "1", "metadata": {"alt_text": {}}}, "metadata.alt_text"),
    ({"id": "1", "metadata": {"alt_text": {"text": "x" * 1001}}}, "metadata.alt_text.text"),
    ({"id": "1", "metadata": {"alt_text": {"text": None}}}, "metadata.alt_text.text"),
    ({"id": "1", "metadata": {"audience_policy": {"x_subscriptions": ["Some"]}}}, "metadata.audience_policy"),
    ({"id": "1", "metadata": {"content_expiration": {"timestamp_sec": "soon"}}}, "metadata.content_expiration"),
    ({"id": "1", "metadata": {"domain_restrictions": {}}}, "metadata.domain_restrictions"),
    ({"id": "1", "metadata": {"found_media_origin": {"provider": "giphy"}}}, "metadata.found_media_origin"),
    ({"id": "1", "metadata": {"management_info": {"managed": "yes"}}}, "metadata.management_info.managed"),
    ({"id": "1", "metadata": {"preview_image": {"media_key": {"media_category": "Gif"}}}}, "metadata.preview_image"),
    ({"id": "1", "metadata": {"preview_image": {"media_key": {"media": "x"}}}}, "metadata.preview_image"),
    ({"id": "1", "metadata": {"shared_info": {}}}, "metadata.shared_info"),
    ({"id": "1", "metadata": {"sticker_info": {"stickers": [{"id": 5}]}}}, "metadata.sticker_info.stickers"),
    ({"id": "1", "metadata": {"upload_source": {"upload_source": 1}}}, "metadata.upload_source"),
    ({"id": "1", "metadata": {"geo_restrictions": {}}}, GEO),
    ({"id": "1", "metadata": {"geo_restrictions": {"whitelisted_country_codes": ["us"]}}}, GEO),
    ({"id": "1", "metadata": {"geo_restrictions": {"whitelisted_country_codes": ["us"],
                                                   "blacklisted_country_codes": ["us"]}}}, GEO),
    ({"id": "1", "metadata": {"geo_restrictions": {"whitelisted_country_codes": [],
                                                   "blacklisted_country_codes": []}}}, GEO),
    ({"id": "1", "metadata": {"geo_restrictions": {"whitelisted_country_codes": ["usa"],
                                                   "blacklisted_country_codes": []}}}, GEO),
]  # fmt: skip

# Bounds that stand only in descriptions, and members that the contract does not name: its schema lets them pass.
BEYOND_THE_SCHEMA: list[tuple[Any, str]] = [
    ({"id": "1", "metadata": {"found_media_origin": {"provider": "x" * 9, "id": "1"}}}, "metadata.found_media_origin"),
    ({"id": "1", "metadata": {"found_media_origin": {"provider": "x", "id": "1" * 25}}}, "metadata.found_media_origin"),
    ({"id": "1", "metadata": {"sticker_info": {"stickers": []}}}, "metadata.sticker_info.stickers"),
    ({"id": "1", "metadata": {"sticker_info": {"stickers": [{}] * 26}}}, "metadata.sticker_info.stickers"),
    ({"id": "1", "account": "main"}, "account"),
    ({"id": "1", "ref": 1}, "ref"),
    ({"id": "1", "send_before": 1}, "send_before"),
    ({"id": "1", "metadata": {"alt_txt": {"text": "x"}}}, "metadata.alt_txt"),
    ({"id": "1", "metadata": {"alt_text": {"text": "x", "lang": "en"}}}, "metadata.alt_text.lang"),
]


def schema_says(body: Any, version: str, name: str) -> bool:
    path = SPEC / f"media-metadata-{version}.openapi.json"
    if not path.exists():
        pytest.skip("X's OpenAPI documents are not at hand")
    document = json.loads(path.read_text("utf-8"))
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema).is_valid(body)


@pytest.mark.parametrize("body", GOOD)
def test_what_the_contract_allows_is_accepted(body: Any) -> None:
    verdict = check(json.dumps(body).encode())
    assert isinstance(verdict, Accepted)
    assert verdict.media_id == body["id"]
    assert json.loads(verdict.metadata) == body.get("metadata", {})


@pytest.mark.parametrize(("body", "member"), [*BAD, *BEYOND_THE_SCHEMA])
def test_what_the_contract_forbids_is_refused_by_name(body: Any, member: str) -> None:
    verdict = check(json.dumps(body).encode())
    assert isinstance(verdict, Violation)
    assert verdict.path.startswith(member)
    assert verdict.message.startswith(f"$.{member}" if member and "id" in body else "$")
    assert len(verdict.message) <= 301
    assert len(verdict.value) <= 101


@pytest.mark.parametrize("body", GOOD)
def test_published_schemas_agree_on_what_is_good(body: Any) -> None:
    assert schema_says(body, "2.159", "MetadataCreateRequest")
    assert schema_says(body, "2.167", "CreateMediaMetadataRequest")


@pytest.mark.parametrize("body", [body for body, _ in BAD])
def test_published_schema_agrees_on_what_is_bad(body: Any) -> None:
    if body == {"id": "1\n"}:
        pytest.skip("Python's `$` in a pattern lets a final newline through; ECMAScript's does not")
    assert not schema_says(body, "2.159", "MetadataCreateRequest")


@pytest.mark.parametrize("body", [body for body, _ in BEYOND_THE_SCHEMA])
def test_published_schema_is_laxer_where_we_say_so(body: Any) -> None:
    assert schema_says(body, "2.159", "MetadataCreateRequest")


def test_the_pages_sample_request_breaks_the_geo_rule_and_passes_when_lenient() -> None:
    page = SPEC / "create-media-metadata.page.txt"
    if not page.exists():
        pytest.skip("X's page is not at hand")
    sample = page.read_text("utf-8").partition("--data '")[2].partition("'\n")[0].encode()
    strict = check(sample)
    assert isinstance(strict, Violation)
    assert strict.path == GEO
    assert "2 are not empty" in strict.message
    lenient = check(sample, lenient=True)
    assert isinstance(lenient, Accepted)
    assert json.loads(lenient.metadata) == json.loads(sample)["metadata"]


@given(st.binary(max_size=200))
def test_no_bytes_surprise_the_check(body: bytes) -> None:
    assert isinstance(check(body), Accepted | Violation)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "metadata", "alt_text", "text", "a.b", "geo_restrictions", "`"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"id": st.just("1") | _plain}, optional={"metadata": _plain, "x": _plain}))
def test_no_json_surprises_the_check(body: Any) -> None:
    verdict = check(json.dumps(body).encode())
    if isinstance(verdict, Violation):
        assert verdict.message.isprintable()
        assert verdict.path.isprintable()
    else:
        assert verdict.media_id == body["id"]


@pytest.mark.parametrize(("body", "member"), [*BAD, *BEYOND_THE_SCHEMA])
async def test_a_violation_is_answered_400_and_not_applied(sandbox_post, body: Any, member: str) -> None:
    async with Sandbox(limit=10) as sandbox:
        answer = await sandbox_post(sandbox, data=json.dumps(body).encode())
        assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
        assert answer.json["type"] == "https://api.x.com/2/problems/invalid-request"
        assert answer.json["title"] == "Invalid Request"
        (fault,) = answer.json["errors"]
        assert fault["message"].startswith("$")
        assert all(isinstance(value, str) for values in fault["parameters"].values() for value in values)
        assert (sandbox.counts.applied, sandbox.counts.by_status) == (0, {400: 1})
        assert answer.headers["x-rate-limit-remaining"] == "9"  # what got past the token counts, right or wrong
        assert sandbox.received[0].body == body


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"id":"1"} x', b'\xef\xbb\xbf{"id":"1"}', '{"id":"1"}'.encode("utf-16"),
             b'{"id":"1","metadata":' + b'{"a":' * 50_000, b'{"id":"1","metadata":{"alt_text":{"text":"\xe9"}}}'],
)  # fmt: skip
async def test_broken_json_is_a_400(sandbox_post, data: bytes) -> None:
    async with Sandbox() as sandbox:
        answer = await sandbox_post(sandbox, data=data)
        assert answer.status == 400
        assert answer.json["type"].endswith("/invalid-request")
        assert not sandbox.applied


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200), ("application/json; charset=utf-8", 200), ("Application/JSON; charset=UTF-8", 200),
        ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/json; charset=latin-1", 415),
        ("application/problem+json", 415),
    ],
)  # fmt: skip
async def test_the_content_type_must_be_json(sandbox_post, content_type: str, status: int) -> None:
    async with Sandbox() as sandbox:
        answer = await sandbox_post(sandbox, headers={"Content-Type": content_type})
        assert answer.status == status
        assert len(sandbox.applied) == (status == 200)


async def test_a_body_of_more_than_a_megabyte_is_a_413(sandbox_post) -> None:
    async with Sandbox() as sandbox:
        large = {"id": MEDIA_ID, "metadata": {"domain_restrictions": {"whitelist": ["x" * 1000] * 1100}}}
        answer = await sandbox_post(sandbox, data=json.dumps(large).encode())
        assert (answer.status, answer.json["title"]) == (413, answer.json["detail"])
        assert sandbox.received[0].raw == b""
        assert not sandbox.applied
        large["metadata"] = {"domain_restrictions": {"whitelist": ["x" * 1000] * 1000}}
        assert (await sandbox_post(sandbox, data=json.dumps(large).encode())).status == 200


async def test_lenient_lets_both_lists_pass_and_nothing_else(sandbox_post) -> None:
    both = {"geo_restrictions": {"whitelisted_country_codes": ["us"], "blacklisted_country_codes": ["us"]}}
    async with Sandbox(lenient=True) as sandbox:
        assert (await sandbox_post(sandbox, metadata=both)).status == 200
        assert sandbox.applied == {MEDIA_ID: both}
        assert (await sandbox_post(sandbox, metadata={"alt_text": {"text": 1}})).status == 400
        both["geo_restrictions"]["whitelisted_country_codes"] = ["usa"]
        assert (await sandbox_post(sandbox, metadata=both)).status == 400


async def test_the_openapi_document_is_valid_and_judges_as_the_sandbox_does(sandbox_session, sandbox_post) -> None:
    async with Sandbox() as sandbox, sandbox_session.get(sandbox.openapi_url) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        document = await response.json()
        good = await sandbox_post(sandbox, metadata=EVERYTHING)
        refused = await sandbox_post(sandbox, token=None)
        assert (await sandbox_post(sandbox, path="/openapi.json")).status == 404  # POST is not for it
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])
    operation = document["paths"]["/2/media/metadata"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/MetadataCreateRequest"
    }
    assert {"200", "429", "default"} == set(operation["responses"])
    assert all(response["description"] for response in operation["responses"].values())
    assert all(set(need) <= set(document["components"]["securitySchemes"]) for need in operation["security"])
    schemas = document["components"]["schemas"]
    assert {f"#/components/schemas/{name}" for name in schemas} >= set(_refs(document))
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)

    def valid(body: Any, name: str) -> bool:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        return jsonschema.Draft202012Validator(schema).is_valid(body)

    assert all(valid(body, "MetadataCreateRequest") for body in GOOD)
    assert not any(valid(body, "MetadataCreateRequest") for body, _ in (*BAD, *BEYOND_THE_SCHEMA))
    assert valid(good.json, "MetadataCreateResponse")
    assert valid(refused.json, "Problem")


def _refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _refs(value)]
    return [ref for value in node for ref in _refs(value)] if isinstance(node, list) else []
