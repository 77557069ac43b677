"""No answer makes the client raise outside its tree, and no input makes it send what the contract does not allow.

Random bytes hardly ever parse, so most bodies are real samples that were damaged, or JSON in X's words.
"""

from __future__ import annotations

import json
import pickle
import unicodedata
from typing import Any, cast

import msgspec
from hypothesis import assume, example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from tests.samples.load import MEDIA_ID, SAMPLES
from xmediameta import (
    AltText,
    AudiencePolicy,
    ContentExpiration,
    DomainRestrictions,
    GeoRestrictions,
    InvalidUpdate,
    Metadata,
    ProblemError,
    ServerFault,
    Sticker,
    StickerInfo,
    Update,
)
from xmediameta.models import decode_update
from xmediameta.outcomes import read_echo
from xmediameta.text import HALF_PAIR
from xmediameta.verdict import Retry, StopRun, Verdict, judge
from xmediameta.wire import Reply, decipher, encode, retry_after, server_date

WORDS = [
    "data", "id", "associated_metadata", "errors", "error", "message", "code", "title", "detail", "status", "type",
    "instance", "parameters", "reason", "period", "alt_text", "text", "request", "geo_restrictions", "stickers",
]  # fmt: skip
TYPES = [
    "about:blank", "usage-capped", "https://api.x.com/2/problems/usage-capped", "credits", "…/credits-depleted",
    "https://api.twitter.com/2/problems/resource-not-found", "x/user-suspended", "x/client-forbidden", "suspended",
    "https://api.x.com/2/problems/internal-error", "/", "?", "#",
]  # fmt: skip
HOSTILE = ["\x1b[31m", "\u202e", "a\nb", "\x00", "\u2028", "\ud800", "\U000e0041", "x" * 3_000]

texts = st.one_of(st.text(max_size=20), st.sampled_from([*TYPES, *HOSTILE, MEDIA_ID, "7"]))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from([34, 64, 88, 261, 401, 503, 2**63])
)
shapes = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), inner, max_size=5),
    ),
    max_leaves=12,
)
problems = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(st.sampled_from(TYPES), shapes),
        "title": st.one_of(texts, shapes),
        "detail": texts,
        "status": st.one_of(st.integers(-1, 700), shapes),
        "code": st.one_of(st.sampled_from([34, 64, 88, 326, 453]), shapes),
        "message": texts,
        "errors": shapes,
    },
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "data": st.one_of(
            shapes, st.fixed_dictionaries({}, optional={"id": scalars, "associated_metadata": shapes, "x": shapes})
        ),
        "errors": st.one_of(shapes, st.lists(st.one_of(problems, texts, shapes), max_size=3)),
        "meta": shapes,
    },
)


@st.composite
def written(draw: st.DrawFn, plain: st.SearchStrategy[Any]) -> bytes:
    """JSON as servers write it: in several encodings, with or without a byte-order mark."""
    text = json.dumps(draw(plain), ensure_ascii=draw(st.booleans()))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"]))
    return text.encode(encoding, "replace")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real sample, cut, spliced or with bytes changed."""
    body = bytearray(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))].body)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        until = min(len(body), at + draw(st.integers(0, 12)))
        body[at:until] = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [b"", b"null", b"[]", b'"', b"{", b"}", b",", b"\\u0000", b"\\ud800", b"1e999", b"\xff"]
                ),
                st.sampled_from([word.encode() for word in WORDS]),
            )
        )
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)


bodies = st.one_of(st.binary(max_size=64), damaged(), written(answers), written(problems), written(shapes))
statuses = st.one_of(
    st.sampled_from([200, 201, 202, 204, 299, 400, 401, 402, 403, 404, 408, 429, 500, 503, 520]), st.integers(-5, 1_200)
)
header_texts = st.one_of(
    st.text(max_size=12),
    st.integers(-10, 10**13).map(str),
    st.sampled_from([*HOSTILE, "application/json", "text/html", "Wed, 25 Nov 2026 08:37:32 GMT", "inf", "9" * 400]),
    st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
)
header_names = st.sampled_from(
    ["Date", "Retry-After", "Content-Type", "X-Transaction-Id", "x-rate-limit-remaining", "x-rate-limit-reset",
     "X-Rate-Limit-Limit", "x-app-limit-24hour-reset", "x-user-limit-24hour-remaining"]
)  # fmt: skip
headers = st.dictionaries(header_names, header_texts, max_size=6).map(lambda told: CIMultiDictProxy(CIMultiDict(told)))


def is_safe(text: str) -> bool:
    """One line, nothing that drives a terminal; joiners are left alone, since emoji are made with them."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return not any(unicodedata.category(one) in hidden for one in text if one not in "\u200c\u200d")


def check_message(error: InvalidUpdate) -> None:
    """A refusal is one safe line that is not too long."""
    assert is_safe(str(error))
    assert len(str(error)) < 1_500


@given(status=statuses, told=headers, body=bodies, attempt=st.integers(1, 6), refreshable=st.booleans())
def test_no_answer_raises(
    status: int, told: CIMultiDictProxy[str], body: bytes, attempt: int, refreshable: bool
) -> None:
    result = decipher(status, told, body, media_id=MEDIA_ID)
    assert is_safe(repr(result))
    if isinstance(result, Reply):
        assert 200 <= status <= 299
        read_echo(result.raw_metadata)
        return
    assert isinstance(result, ProblemError)
    assert result.status == status
    assert is_safe(str(result))
    assert len(str(result)) < 6_000
    assert is_safe(result.body_excerpt)
    assert is_safe(result.transaction_id or "")
    verdict = judge(result, attempt=attempt, refreshable=refreshable)
    assert isinstance(verdict, Verdict)
    assert not (attempt >= 5 and isinstance(verdict, Retry))
    if 500 <= status < 1_000:
        assert isinstance(result, ServerFault)
        assert not isinstance(verdict, StopRun)
    assert str(pickle.loads(pickle.dumps(result))) == str(result)


@given(echo=shapes, more=st.dictionaries(st.sampled_from(["meta", "includes", "x"]), shapes), told=headers)
def test_a_success_is_never_lost_to_an_odd_echo(echo: Any, more: dict[str, Any], told: CIMultiDictProxy[str]) -> None:
    raw = json.dumps(echo).encode()
    body = b'{"data":{"id":"%b","associated_metadata":%b}' % (MEDIA_ID.encode(), raw)
    body += b"".join(b',"%b":%b' % (name.encode(), json.dumps(value).encode()) for name, value in more.items()) + b"}"
    # Infinity and NaN are no JSON, though Python writes them.
    assume(b"Infinity" not in body and b"NaN" not in body)
    reply = decipher(200, told, body, media_id=MEDIA_ID)
    assert isinstance(reply, Reply)
    assert reply.raw_metadata == HALF_PAIR.sub(rb"\\ufffd", raw)
    assert reply.warnings == ()


@given(told=headers, date=st.one_of(st.none(), st.floats(-1e11, 1e12)))
def test_retry_after_is_within_a_day(told: CIMultiDictProxy[str], date: float | None) -> None:
    asked = retry_after(told, date=date)
    assert asked is None or 0 <= asked <= 86_400
    assert server_date(told) is None or "date" in told


objects = st.one_of(
    shapes,
    st.binary(max_size=8),
    st.datetimes(),
    st.uuids(),
    st.decimals(),
    st.sets(st.text(max_size=3)),
    st.tuples(texts, scalars),
    st.builds(object),
    st.builds(AltText, texts),
    st.builds(Sticker, id=scalars, transform_a=scalars),
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What fits, and now and then anything at all: an update in which nothing fits is refused for one thing only."""
    return st.integers(0, 9).flatmap(lambda number: good if number else objects)


countries = st.lists(st.sampled_from(["us", "DE", "fr"]), min_size=1, max_size=2)
stickers = st.builds(Sticker, id=mostly(texts), transform_a=mostly(st.floats()))
members = st.fixed_dictionaries(
    {},
    optional={
        "alt_text": mostly(st.builds(AltText, mostly(texts))),
        "content_expiration": mostly(st.builds(ContentExpiration, mostly(st.integers(0, 2**40)))),
        "domain_restrictions": mostly(st.builds(DomainRestrictions, mostly(st.lists(mostly(texts), max_size=3)))),
        "geo_restrictions": mostly(st.builds(GeoRestrictions, mostly(countries), mostly(st.sampled_from([(), []])))),
        "audience_policy": mostly(st.builds(AudiencePolicy, mostly(st.lists(st.just("Any"))))),
        "sticker_info": mostly(st.builds(StickerInfo, mostly(st.lists(stickers, min_size=1, max_size=3)))),
    },
)
notes = st.fixed_dictionaries(
    {},
    optional={
        "account": mostly(texts),
        "ref": mostly(st.one_of(texts, st.integers(-(2**63), 2**63 - 1))),
        "send_before": mostly(
            st.one_of(st.integers(0, 2**31), st.floats(0, 2e9), st.datetimes(timezones=st.timezones()))
        ),
    },
)


@given(
    media_id=mostly(st.just(MEDIA_ID)),
    metadata=mostly(members.map(lambda given: Metadata(**given))),
    notes=notes,
    strict=st.booleans(),
)
@example(media_id=MEDIA_ID, metadata=Metadata(), notes={}, strict=False)
def test_what_is_sent_is_what_the_contract_allows(
    media_id: object, metadata: object, notes: dict[str, object], strict: bool
) -> None:
    update = cast("Any", Update)(media_id, metadata, **notes)
    try:
        sent = encode(update, strict=strict)
    except InvalidUpdate as error:
        check_message(error)
        return
    # A check of its own: what was sent reads back under the contract, and says what was built.
    again = decode_update(sent, strict=strict)
    assert (again.id, again.account, again.ref, again.send_before) == (media_id, None, None, None)
    assert json.loads(sent).keys() <= {"id", "metadata"}
    assert encode(again, strict=strict) == sent
    update.check(strict=strict)


LINE = json.dumps(
    {
        "id": MEDIA_ID,
        "metadata": {
            "alt_text": {"text": "Zoë \U0001f408"},
            "sticker_info": {"stickers": [{"id": "1", "transform_a": 1.5}, {}]},
            "geo_restrictions": {"whitelisted_country_codes": ["us"], "blacklisted_country_codes": []},
            "content_expiration": {"timestamp_sec": 1740787200},
        },
        "ref": "row 7",
        "send_before": "2026-11-25T00:00:00Z",
    }
)


@st.composite
def damaged_line(draw: st.DrawFn) -> bytes:
    line = bytearray(LINE.encode())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        until = min(len(line), at + draw(st.integers(0, 20)))
        odd = [
            b"",
            b"null",
            b"7",
            b"1.5",
            b"[]",
            b"{}",
            b'"',
            b"\xff",
            b"\\ud83d",
            b"`",
            b"\\u001b",
            b'"x":1,',
            b"true",
        ]
        line[at:until] = draw(st.one_of(st.sampled_from(odd), st.binary(max_size=3)))
    return bytes(line)


@given(line=st.one_of(damaged_line(), written(st.fixed_dictionaries({"id": scalars, "metadata": shapes}))))
@example(line=LINE.encode())
def test_no_line_raises_anything_else(line: bytes) -> None:
    try:
        update = decode_update(line)
    except InvalidUpdate as error:
        check_message(error)
        return
    sent = encode(update)
    assert decode_update(sent).metadata == update.metadata
    assert msgspec.json.decode(msgspec.json.encode(update), type=Update) == update
