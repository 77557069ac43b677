"""Requests as bytes, answers as a reply or an error."""

from __future__ import annotations

from xmediameta import Metadata, Update
from xmediameta.wire import PATH, Reply, decipher, encode

ID = "1146654567674912769"


def test_a_request_is_the_body_alone() -> None:
    update = Update(ID, Metadata.of(alt_text="A dancing cat"), account="main", ref="row 7", send_before=1_900_000_000)
    assert encode(update) == b'{"id":"1146654567674912769","metadata":{"alt_text":{"text":"A dancing cat"}}}'
    assert PATH == "/2/media/metadata"


def test_the_echo_stays_raw() -> None:
    body = b'{"data": {"id": "%b", "associated_metadata": {"alt_text" : 1}}}' % ID.encode()
    assert decipher(200, {}, body, media_id=ID) == Reply(None, (), b'{"alt_text" : 1}')
