"""Parquet: columns of native types or texts, structs in the wire's shape, memory flat, every fault one line."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xmediameta.models import Metadata, Update
from xmediameta.readers import Reject, Row

from .reading import lines, only_fault, read, updates

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

BIG = 9_223_372_036_854_775_807  # 19 digits, which a double cannot hold
NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
NAME = "u.parquet"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(columns: dict[str, Any], name: str = NAME, **options: Any) -> str:
    pq.write_table(pa.table(columns), name, **options)
    return name


def told(columns: dict[str, Any], **options: Any) -> list[str]:
    return lines(read(put(columns), **options))


# Bad input


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("ID", pa.array([float(BIG)]), "ID: is a column of double, which has no room for all digits of a media id"),
        ("ID", pa.array([1.0], pa.float32()), "ID: is a column of float, which has no room for all digits"),
        ("ID", pa.array([Decimal("1.5")]), "is a column of decimal128(2, 1); a media id is text or a 64-bit integer"),
        ("ID", pa.array([True]), "ID: is a column of bool; a media id is text or a 64-bit integer"),
        ("ID", pa.array([["1"]]), "ID: is a column of list<element: string>; a media id is text or a 64-bit integer"),
        ("Alt Text", pa.array([7]), "Alt Text: is a column of int64; text is needed"),
        ("account", pa.array([7]), "account: is a column of int64; text is needed"),
        ("ref", pa.array([1.5]), "ref: is a column of double; text is needed"),
        ("adult_content", pa.array([1]), "adult_content: is a column of int64; booleans are needed"),
        ("content_expires_at", pa.array([datetime(2030, 1, 1)]), "is a column of timestamp[us] without a zone;"),
        ("send_before", pa.array([date(2030, 1, 1)]), "is a column of date32[day]; timestamps with a zone are needed"),
        ("allowed_countries", pa.array([[1]]), "is a column of list<element: int64>; lists of texts are needed"),
        ("stickers", pa.array([["a"]]), "is a column of list<element: string>; lists of structs are needed, or JSON"),
        ("colour", pa.array(["a"]), 'is not a column of the contract; keep it beside the row with --pass "colour"'),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit(name: str, column: Any, said: str):
    fault = only_fault(read(put({name: column} if name == "ID" else {"id": pa.array(["1"]), name: column})))
    assert fault.fatal
    assert fault.line is None
    assert str(fault).startswith(f"u.parquet: {name}: ")
    assert said in str(fault)


def test_all_faults_of_the_columns_are_told_at_once():
    found = told({"id": pa.array([1.5]), "alt_text": pa.array([1]), "shared": pa.array([2.5])})
    assert [line.split(": ")[1] for line in found] == ["id", "alt_text", "shared"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["1"], "Alt Text": ["x" * 1001]}, "Alt Text: 1,001 characters, 1 too many (at most 1,000)"),
        ({"id": [None], "alt_text": ["a"]}, "id: is empty; a media id has 1 to 19 digits"),
        ({"id": [-7], "alt_text": ["a"]}, "id: '-7' is not a media id (1 to 19 digits)"),
        ({"id": pa.array([2**64 - 1], pa.uint64()), "alt_text": ["a"]}, "id: 20 digits, 1 too many (at most 19)"),
        ({"id": ["1.1E+18"], "alt_text": ["a"]}, "id: '1.1E+18' was written as a number by a spreadsheet"),
        ({"id": ["3_12"], "alt_text": ["a"]}, "id: '3_12' is a media key"),
        ({"id": [1], "alt_text": [None]}, "the row sets nothing"),
        ({"id": [1], "alt_text": [" "]}, "the row sets nothing"),
        ({"id": [1], "alt_text": ["#REF!"]}, "alt_text: #REF! is what a formula shows that failed"),
        ({"id": [1], "shared": ["maybe"]}, "shared: 'maybe' is not true, false, yes, no, 1 or 0"),
        ({"id": [1], "Only There": [["usa"]]}, "Only There[]: 'usa' is not a country code of two letters"),
        ({"id": [1], "Only There": [["us", None]]}, "Only There: holds an entry that is null"),
        ({"id": [1], "Only There": [["us"]], "blocked_countries": [["de"]]}, "exactly one of Only There and"),
        ({"id": [1], "content_expires_at": [1_893_456_000_000]}, "content_expires_at: is in seconds; this looks like"),
        ({"id": [1], "content_expires_at": [1.5]}, "content_expires_at: must be whole seconds"),
        ({"id": [1], "content_expires_at": [float("nan")]}, "content_expires_at: nan is not a time"),
        (
            {"id": [1], "content_expires_at": pa.array([10**12], pa.timestamp("s", "UTC"))},
            "content_expires_at: is in seconds; this looks like milliseconds",
        ),
        ({"id": [1], "alt_text": ["a"], "send_before": [float("inf")]}, "send_before: inf is not a time"),
        ({"id": [1], "alt_text": ["a"], "send_before": ["2030-01-01"]}, "send_before: '2030-01-01' has no zone"),
        (
            {"id": [1], "alt_text": ["a"], "ref": pa.array([2**63], pa.uint64())},
            "ref: a number too large",
        ),
        ({"id": [1], "stickers": [[{"id": 7}]]}, "stickers[].id: must be text in quotes, not a number (7)"),
        ({"id": [1], "stickers": [[{"idd": "7"}]]}, "stickers[].idd: is not a member of the contract; did you"),
        ({"id": [1], "stickers": [[None]]}, "stickers: holds a sticker that is null"),
        ({"id": [1], "stickers": [[{"aspect_ratio": float("inf")}]]}, "stickers: aspect_ratio: inf is not a number"),
        ({"id": [1], "metadata": [{"alt_text": {"text": "x" * 1002}}]}, "metadata.alt_text.text: 1,002 characters, 2"),
        ({"id": [1], "metadata": [{"found_media_origin": {"id": "x"}}]}, "origin_provider: is missing"),
    ],
)  # fmt: skip
def test_rows_that_are_no_updates(columns: dict[str, Any], said: str):
    good = {"id": [5], "alt_text": ["a"]}
    name = put(columns)
    fault = only_fault(read(name, renames={"Only There": "allowed_countries"} if "Only There" in columns else {}))
    assert str(fault).startswith("u.parquet: row 1: ")
    assert said in str(fault)
    assert not fault.fatal
    assert updates(read(put(good)))


def test_the_row_is_named_across_batches_and_row_groups():
    texts = ["a"] * 5000
    texts[4321] = "x" * 1001
    found = read(put({"id": pa.array(range(5000)), "alt_text": texts}, row_group_size=777))
    assert [str(item) for item in found if isinstance(item, Reject)] == [
        "u.parquet: row 4322: alt_text: 1,001 characters, 1 too many (at most 1,000)"
    ]
    assert [item.line for item in found] == list(range(1, 5001))
    assert found[4999].where == "u.parquet: row 5000"


def test_a_reject_keeps_its_values():
    [bad] = read(
        put({"id": [BIG], "shared": [True], "alt_text": ["x" * 1001], "_n": [1], "File": ["c"]}), passed=("file",)
    )
    assert isinstance(bad, Reject)
    assert bad.raw == {"id": str(BIG), "shared": "True", "alt_text": "x" * 1001, "File": "c"}


def test_bytes_that_are_not_utf8_harm_no_other_row():
    texts = pa.array([b"caf\xe9", b"fine", "caf\xe9".encode()])
    unmarked = told({"id": [1, 2, 3], "Alt Text": texts})
    offsets, data = pa.py_buffer(b"\0\0\0\0\x04\0\0\0\x08\0\0\0\x0d\0\0\0"), pa.py_buffer(b"caf\xe9finecaf\xc3\xa9")
    marked = told({"id": [1, 2, 3], "Alt Text": pa.Array.from_buffers(pa.string(), 3, [None, offsets, data])})
    assert unmarked == marked == [
        "u.parquet: row 1: Alt Text: is not UTF-8 (one byte is 0xe9; the file may be in latin-1 or UTF-16)",
        "u.parquet: row 2: ok",
        "u.parquet: row 3: ok",
    ]  # fmt: skip


# Good input


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([str(BIG), "2"]), pa.array([str(BIG), "2"], pa.large_string()), pa.array([BIG, 2]),
        pa.array([BIG, 2], pa.uint64()), pa.array([Decimal(BIG), Decimal(2)], pa.decimal128(38, 0)),
        pa.array([str(BIG), "2"]).dictionary_encode(), pa.array([str(BIG).encode(), b"2"]),
        pa.array([str(BIG), "2"], pa.string_view()),
    ],
    ids=lambda array: str(array.type),
)  # fmt: skip
def test_ids_are_exact(ids: Any):
    try:
        put({"id": ids})
    except pa.ArrowNotImplementedError:
        pytest.skip("this pyarrow does not write it")
    assert [update.id for update in updates(read(put({"id": ids, "alt_text": ["a", "b"]})))] == [str(BIG), "2"]


def test_every_short_form_in_a_type_of_its_own_and_as_text():
    native = {
        "id": [1], "alt_text": ["A cat "], "allow_download": [True], "adult_content": [False],
        "graphic_violence": [True], "other_sensitive": [False], "allowed_countries": [["us", "DE"]],
        "content_expires_at": pa.array([NOON]), "allowed_domains": [["example.com"]], "managed": [True],
        "shared": [False], "upload_source": ["studio"], "origin_provider": ["giphy"], "origin_id": ["abc"],
        "preview_media_id": [BIG], "creator_subscriptions": [["Any"]], "x_subscriptions": [["Any"]],
        "stickers": [[{"id": "7", "aspect_ratio": 1.5, "transform_a": None}]],
        "account": ["shop"], "ref": ["row 1"], "send_before": pa.array([NOON]),
    }  # fmt: skip
    texts = {
        name: [text] for name, text in {
            "id": "1", "alt_text": "A cat ", "allow_download": "yes", "adult_content": "FALSE", "graphic_violence": "1",
            "other_sensitive": "no", "allowed_countries": "us|DE", "content_expires_at": "2030-01-02T13:00:00+01:00",
            "allowed_domains": "example.com", "managed": "true", "shared": "0", "upload_source": "studio",
            "origin_provider": "giphy", "origin_id": "abc", "preview_media_id": str(BIG),
            "creator_subscriptions": "Any", "x_subscriptions": "Any", "stickers": '[{"id":"7","aspect_ratio":1.5}]',
            "account": "shop", "ref": "row 1", "send_before": str(int(NOON.timestamp())),
        }.items()
    }  # fmt: skip
    metadata = Metadata.of(
        alt_text="A cat ", allow_download=True, adult_content=False, graphic_violence=True, other_sensitive=False,
        allowed_countries=["us", "DE"], content_expires_at=NOON, allowed_domains=["example.com"], managed=True,
        shared=False, upload_source="studio", origin_provider="giphy", origin_id="abc", preview_media_id=str(BIG),
        creator_subscriptions=["Any"], x_subscriptions=["Any"], stickers=[{"id": "7", "aspect_ratio": 1.5}],
    )  # fmt: skip
    wanted = [Update("1", metadata, account="shop", ref="row 1", send_before=int(NOON.timestamp()))]
    assert updates(read(put(native))) == updates(read(put(texts, "t.parquet"))) == wanted


def test_structs_in_the_shape_of_the_wire():
    bodies: list[dict[str, Any]] = [
        {"alt_text": {"text": "a"}, "sensitive_media_warning": {"adult_content": True, "other": None}},
        {"geo_restrictions": {"whitelisted_country_codes": ["us"], "blacklisted_country_codes": []}},
        {"preview_image": {"media_key": {"media": "7", "media_category": "TweetImage"}}},
        {"sticker_info": {"stickers": [{"id": "7", "transform_tx": 1.0}]}},
    ]
    whole = updates(read(put({"id": ["1"] * 4, "metadata": pa.array(bodies)})))
    assert whole == [Update.from_mapping({"id": "1", "metadata": _present(body)}) for body in bodies]
    names = {name for body in bodies for name in body}
    by_member = {name: pa.array([body.get(name) for body in bodies]) for name in sorted(names)}
    assert updates(read(put({"id": ["1"] * 4, **by_member}))) == whole
    dotted = {"id": ["1"], "alt_text.text": ["a"], "sensitive_media_warning.adult_content": [True]}
    assert updates(read(put(dotted))) == whole[:1]


def _present(value: Any) -> Any:
    return {name: _present(one) for name, one in value.items() if one is not None} if isinstance(value, dict) else value


def test_nulls_are_absent_and_an_empty_list_is_a_value():
    columns = {
        "id": [1, 2, 3, 4],
        "alt_text": ["a", None, None, "d"],
        "shared": [None, False, None, None],
        "allowed_domains": [None, None, [], None],
        "upload_source": pa.nulls(4),
        "metadata": pa.array([None, {"management_info": {"managed": True}}, None, {"management_info": None}]),
    }
    assert updates(read(put(columns))) == [
        Update("1", Metadata.of(alt_text="a")),
        Update("2", Metadata.of(shared=False, managed=True)),
        Update("3", Metadata.of(allowed_domains=[])),
        Update("4", Metadata.of(alt_text="d")),
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "+02:00"])
def test_times_with_a_zone(unit: str, zone: str):
    moments = pa.array([NOON]).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, zone))
    [update] = updates(read(put({"id": [1], "content_expires_at": moments, "send_before": moments})))
    assert update.metadata == Metadata.of(content_expires_at=NOON)
    assert update.deadline == NOON.timestamp()


def test_times_between_the_seconds():
    moments = pa.array([NOON + timedelta(milliseconds=500)])
    columns = {"id": [1], "content_expires_at": moments, "send_before": moments}
    [update] = updates(read(put(columns)))
    assert update.metadata == Metadata.of(content_expires_at=NOON)  # the wire knows whole seconds only
    assert update.deadline == NOON.timestamp() + 0.5
    [update] = updates(read(put({"id": [1], "content_expires_at": [1.893e9], "send_before": [1.5]})))
    assert (update.metadata, update.deadline) == (Metadata.of(content_expires_at=1_893_000_000), 1.5)


def test_refs_may_be_integers():
    [update] = updates(read(put({"id": [1], "alt_text": ["a"], "ref": [BIG]})))
    assert update.ref == BIG


def test_columns_to_pass_and_to_pass_over():
    columns = {
        "id": [1], "alt_text": ["a"], "_picture": [b"\xff"], "n": [7], "when": pa.array([datetime(2030, 1, 1)]),
        "price": [Decimal("1.50")], "what": pa.array(["x"]).dictionary_encode(), "raw": [b"a\xff"],
        "tags": [["a", None]],
    }  # fmt: skip
    [row] = read(put(columns), passed=("n", "when", "price", "what", "raw", "tags"))
    assert isinstance(row, Row)
    assert row.passed == {
        "n": 7, "when": "2030-01-01 00:00:00.000000", "price": "1.50", "what": "x", "raw": "a\\xff",
        "tags": ["a", None],
    }  # fmt: skip
    msgspec.json.encode(row.passed)
