"""Columns and cells to updates: what each column sets, and what each fault says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from xmediameta.errors import InvalidUpdate
from xmediameta.flat import COLUMN_NAMES, Flaw, columns_for, read_header
from xmediameta.models import Metadata, Update
from xmediameta.shortform import SHORT_FORMS


def row(strict: bool = True, **cells: str) -> Update:
    """One row of a table that has these columns."""
    columns, faults = read_header(list(cells))
    assert faults == []
    return columns.update(list(cells.values()), strict=strict)


def fault(**cells: str) -> str:
    with pytest.raises(InvalidUpdate) as caught:
        row(**cells)
    return str(caught.value)


def header_faults(*headers: str, **options: object) -> list[str]:
    _, faults = read_header(headers, **options)  # type: ignore[arg-type]
    return [f"{member}: {rule}" for member, rule in faults]


CELLS = {
    "alt_text": ("A cat, dancing", "A cat, dancing"),
    "allow_download": ("yes", True),
    "adult_content": ("TRUE", True),
    "graphic_violence": ("0", False),
    "other_sensitive": ("No", False),
    "allowed_countries": ("us| DE ", ["us", "DE"]),
    "content_expires_at": ("2030-01-02T03:04:05+02:00", 1893546245),
    "allowed_domains": ("example.com|example.org", ["example.com", "example.org"]),
    "managed": ("1", True),
    "shared": ("false", False),
    "upload_source": ("studio", "studio"),
    "origin_provider": ("giphy", "giphy"),
    "origin_id": ("abc", "abc"),
    "preview_media_id": (" 1146654567674912770 ", "1146654567674912770"),
    "creator_subscriptions": ("Any", ["Any"]),
    "x_subscriptions": ("Any", ["Any"]),
    "stickers": ('[{"id":"7","aspect_ratio":1.5}]', [{"id": "7", "aspect_ratio": 1.5}]),
}


def test_every_short_form_as_a_column():
    """The cells of all short forms together, wire value by wire value."""
    update = row(id="1146654567674912769", **{name: cell for name, (cell, _) in CELLS.items()})
    assert set(CELLS) | {"blocked_countries"} == set(SHORT_FORMS)  # the geo lists exclude each other
    wire = msgspec.to_builtins(update.metadata)
    for name, (_, value) in CELLS.items():
        at = wire
        for step in SHORT_FORMS[name]:
            at = at[step]
        assert at == value, name
    assert wire["geo_restrictions"]["blacklisted_country_codes"] == []
    assert wire["preview_image"]["media_key"]["media_category"] == "TweetImage"


def test_a_dotted_path_is_the_same_as_its_short_form():
    for name, path in SHORT_FORMS.items():
        cell = CELLS[name][0] if name in CELLS else "fr"
        rest = (
            {"origin_id": "x"} if name == "origin_provider" else {"origin_provider": "x"} if name == "origin_id" else {}
        )
        columns, faults = read_header(["id", f"metadata.{'.'.join(path)}", *rest])
        assert faults == []
        assert columns.update(["1", cell, *rest.values()]) == row(id="1", **{name: cell}, **rest)
    assert "alt_text.text" in COLUMN_NAMES
    assert "sensitive_media_warning.adult_content" in COLUMN_NAMES


def test_headers_regardless_of_case_spaces_and_dashes():
    columns, faults = read_header([" ID ", "Alt Text", "allow-download", "Sensitive_Media_Warning.Other", "REF"])
    assert faults == []
    update = columns.update(["1", "a", "yes", "no", "row 1"])
    assert update == Update("1", Metadata.of(alt_text="a", allow_download=True, other_sensitive=False), ref="row 1")


def test_empty_and_blank_cells_are_absent():
    update = row(id="1", alt_text="a", adult_content="", allowed_countries="  ", account="", ref="", send_before="")
    assert update == Update("1", Metadata.of(alt_text="a"))


def test_alt_text_is_kept_to_the_letter():
    update = row(id="1", alt_text="  two spaces\nand a line  ")
    assert update.metadata == Metadata.of(alt_text="  two spaces\nand a line  ")


def test_account_ref_and_deadline():
    update = row(id="1", alt_text="a", account=" shop ", ref="7", send_before="2030-01-01T00:00:00Z")
    assert (update.account, update.ref) == ("shop", "7")
    assert update.send_before == datetime(2030, 1, 1, tzinfo=UTC)
    assert row(id="1", alt_text="a", send_before="1893456000").deadline == 1893456000
    assert row(id="1", alt_text="a", send_before="1893456000.5").deadline == 1893456000.5
    moved = row(id="1", alt_text="a", send_before="2030-01-01 02:00:00+0200").send_before
    assert moved == datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"alt_text": ""}, "the row sets nothing"),
        ({"id": "", "alt_text": "a"}, "id: is empty; a media id has 1 to 19 digits"),
        ({"id": "12345678901234567890", "alt_text": "a"}, "id: 20 digits, 1 too many (at most 19)"),
        ({"id": "1.14665E+18", "alt_text": "a"}, "id: '1.14665E+18' was written as a number by a spreadsheet"),
        ({"id": "1,14665e18", "alt_text": "a"}, "written as a number by a spreadsheet"),
        ({"id": "1146654567674912769.0", "alt_text": "a"}, "written as a number by a spreadsheet"),
        ({"id": "3_1146654567674912769", "alt_text": "a"}, "is a media key; the media id is what follows"),
        ({"id": "cat", "alt_text": "a"}, "id: 'cat' is not a media id (1 to 19 digits)"),
        ({"alt_text": "x" * 1001}, "alt_text: 1,001 characters, 1 too many (at most 1,000)"),
        ({"adult_content": "maybe"}, "adult_content: 'maybe' is not true, false, yes, no, 1 or 0"),
        ({"allowed_countries": "usa"}, "allowed_countries[]: 'usa' is not a country code"),
        ({"allowed_countries": "us,de"}, "'us,de' holds a space, comma or semicolon; separate with |"),
        ({"allowed_domains": "a.com||b.com"}, "allowed_domains: holds an empty entry"),
        ({"content_expires_at": "2030-01-01T00:00:00"}, "has no zone; write it as 2026-01-31T12:00:00Z"),
        ({"content_expires_at": "tomorrow"}, "'tomorrow' is not a time"),
        ({"content_expires_at": "1893456000000"}, "is in seconds; this looks like milliseconds"),
        ({"content_expires_at": "1893456000.5"}, "must be whole seconds"),
        ({"alt_text": "a", "send_before": "2030-01-01"}, "send_before: '2030-01-01' has no zone"),
        ({"alt_text": "a", "send_before": "1893456000000"}, "send_before: is in seconds; this looks like milliseconds"),
        ({"origin_id": "x"}, "origin_provider: is missing"),
        ({"origin_id": "x" * 25, "origin_provider": "p"}, "origin_id: 25 characters, 1 too many (at most 24)"),
        ({"origin_id": "x", "origin_provider": "too long a name"}, "origin_provider: 15 characters, 7 too many"),
        ({"creator_subscriptions": "Some"}, 'creator_subscriptions[]: must be "Any"'),
        ({"stickers": "[{"}, "stickers: broken JSON"),
        ({"stickers": "[]"}, "stickers: is empty (at least 1 sticker)"),
        ({"stickers": '[{"id":7}]'}, "stickers[].id: must be text in quotes, not a number"),
        ({"stickers": '[{"idd":"7"}]'}, "did you mean 'id'?"),
        ({"stickers": "[" * 100_000}, "stickers: broken JSON: nested too deeply"),
        ({"alt_text": "#N/A"}, "alt_text: #N/A is what a formula shows that failed, and no value"),
        ({"alt_text": "Err:502"}, "alt_text: Err:502 is what a formula shows that failed, and no value"),
        ({"alt_text": "a", "account": " #REF! "}, "account: #REF! is what a formula shows that failed"),
        ({"allowed_domains": "example.com|#NAME?"}, "allowed_domains: #NAME? is what a formula shows that failed"),
        ({"preview_media_id": "1.1E+18"}, "preview_media_id: '1.1E+18' was written as a number"),
        ({"preview_media_id": "3_12"}, "preview_media_id: '3_12' is a media key"),
        ({"alt_text": "a", "ref": "\x1b[2J", "id": "\x1b[2J"}, "'\\x1b[2J' is not a media id"),
    ],
)
def test_one_clear_line_for_each_fault(cells: dict[str, str], said: str):
    message = fault(**{"id": "1", **cells})
    assert said in message
    assert message.isprintable()


def test_faults_name_the_header_as_it_was_written():
    columns, _ = read_header(["ID", "Alternative  Text", "Countries (yes)", "no-go"],
                             renames={"alternative text": "alt_text", "Countries (yes)": "allowed_countries",
                                      "no-go": "blocked_countries"})  # fmt: skip
    with pytest.raises(InvalidUpdate, match=r"^Alternative  Text: 1,002 characters"):
        columns.update(["1", "x" * 1002, "", ""])
    with pytest.raises(InvalidUpdate) as caught:
        columns.update(["1", "", "us", "de"])
    assert str(caught.value) == (
        "Countries (yes) and no-go: exactly one of Countries (yes) and no-go must hold countries; both are filled"
    )


def test_a_flaw_tells_the_columns_by_their_places():
    columns, _ = read_header(["_note", "id", "blocked_countries", "Alt Text", "allowed_countries", "origin_id", ""])
    for cells, places in (
        (["", "x", "", "a", "", "", ""], (1,)),
        (["", "1", "", "a" * 1001, "", "", ""], (3,)),
        (["", "1", "us", "", "de", "", ""], (2, 4)),
        (["", "1", "usa", "", "", "", ""], (2,)),
        (["", "1", "", "a", "", "7", ""], ()),  # the column that is missing
        (["", "1", "", "a", "", "", "x"], (6,)),
        (["", "1", "", "", "", "", ""], ()),
    ):
        flaw = columns.read(cells)
        assert isinstance(flaw, Flaw)
        assert flaw.places == places
        with pytest.raises(InvalidUpdate) as caught:
            columns.update(cells)
        assert (caught.value.member, caught.value.rule) == (flaw.member, flaw.rule)


def test_a_hashtag_is_a_text_like_any_other():
    assert row(id="1", alt_text="#WOW!").metadata == Metadata.of(alt_text="#WOW!")


def test_both_geo_lists_pass_only_where_rules_are_set_aside():
    cells = {"id": "1", "allowed_countries": "us", "blocked_countries": "us"}
    assert "exactly one of" in fault(**cells)
    update = row(strict=False, **cells)
    assert msgspec.to_builtins(update.metadata)["geo_restrictions"] == {
        "whitelisted_country_codes": ["us"],
        "blacklisted_country_codes": ["us"],
    }


def test_one_geo_list_fills_in_the_other():
    for ours, other in (("allowed", "blocked"), ("blocked", "allowed")):
        update = row(**{"id": "1", f"{ours}_countries": "us", f"{other}_countries": ""})
        assert update == Update("1", Metadata.of(**{f"{ours}_countries": ["us"]}))  # type: ignore[arg-type]


def test_unknown_columns_name_the_ways_out():
    [said] = header_faults("id", "alt_text", "colour")
    assert '--pass "colour"' in said
    assert '--map "colour=NAME"' in said
    [said] = header_faults("id", "alt_txt")
    assert said.endswith("did you mean 'alt_text'?")
    said = header_faults("media_id", "alt_text")
    assert '--map "media_id=id"' in said[0]
    assert said[1] == 'id: is missing: a table needs a column of media ids; --map "media_id=id" would name it'


def test_all_header_faults_are_told_at_once():
    assert len(header_faults("colour", "shape", "alt_text", "Alt Text")) == 4


def test_a_column_twice_or_under_both_its_names():
    [said] = header_faults("id", "alt_text", "ALT TEXT")
    assert said == "ALT TEXT: sets the same as the column 'alt_text'"
    [said] = header_faults("id", "Alt", "alt_text.text", renames={"Alt": "alt_text"})
    assert said == "alt_text.text: sets the same as the column 'Alt'"


def test_columns_that_begin_with_an_underscore_are_passed_over():
    columns, faults = read_header(["id", "alt_text", "_note", "__"])
    assert faults == []
    assert columns.update(["1", "a", "anything", "else"]) == Update("1", Metadata.of(alt_text="a"))
    assert columns.passed(["1", "a", "anything", "else"]) == {}


def test_pass_keeps_columns_beside_the_row():
    columns, faults = read_header(["id", "alt_text", "File Name"], passed=["file name"])
    assert faults == []
    assert columns.update(["1", "a", "cat.png"]) == Update("1", Metadata.of(alt_text="a"))
    assert columns.passed(["1", "a", "cat.png"]) == {"File Name": "cat.png"}


@pytest.mark.parametrize(
    ("headers", "options", "said"),
    [
        (["id", "alt_text"], {"passed": ["nmae"]}, "--pass: there is no column 'nmae'"),
        (["id", "alt_text"], {"passed": ["alt_text"]}, "alt_text: is a column of the contract and is sent"),
        (["id", "a"], {"renames": {"a": "alt_txt"}}, "--map: 'alt_txt' is not a column name; did you mean 'alt_text'?"),
        (["id", "ref"], {"renames": {"alternative": "alt_text"}}, "--map: there is no column 'alternative'"),
    ],
)
def test_options_that_fit_no_header(headers: list[str], options: dict[str, object], said: str):
    assert any(line.startswith(said) for line in header_faults(*headers, **options))


def test_a_rename_that_another_file_does_not_need():
    assert header_faults("id", "alt_text", renames={"Description": "alt_text"}) == []


def test_a_column_without_a_name_may_only_be_empty():
    columns, faults = read_header(["id", "alt_text", "", " "])
    assert faults == []
    assert columns.update(["1", "a", "", ""]) == Update("1", Metadata.of(alt_text="a"))
    with pytest.raises(InvalidUpdate, match="'x' stands in a column that has no header"):
        columns.update(["1", "a", "", "x"])


def test_columns_for_options_keep_empty_texts():
    columns = columns_for({"id": "ID", "alt_text": "--alt-text", "allowed_countries": "--allowed-countries"})
    assert columns.update(["1", "", None], keep_empty=True) == Update("1", Metadata.of(alt_text=""))
    with pytest.raises(InvalidUpdate, match=r"^--alt-text: 1,001 characters"):
        columns.update(["1", "x" * 1001, None], keep_empty=True)


def test_foreign_headers_are_escaped():
    [said] = header_faults("id", "alt_text", "evil\x1b[31m\u202e")
    assert said.isprintable()
