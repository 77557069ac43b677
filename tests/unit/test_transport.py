"""What each exception of aiohttp and of the system stands for, and how a body is inflated; no event loop."""

from __future__ import annotations

import errno
import gzip
import ssl
import zlib
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from xmediameta.body import MOST_BYTES, _inflated
from xmediameta.credentials import Secret
from xmediameta.errors import ConnectFailed, ConnectionLost, ProtocolViolation, TransportError
from xmediameta.transport import Session, _mapped

TOKEN = "canary-7f3a9c51d20e/token"
KEY: Any = SimpleNamespace(host="api.x.com", port=443, ssl=True, is_ssl=True)
INFO: Any = aiohttp.RequestInfo(URL("https://api.x.com"), "POST", CIMultiDictProxy(CIMultiDict()))


def session(token: str = TOKEN) -> Session:
    return Session(SimpleNamespace(closed=False), CIMultiDict(), Secret(token))  # type: ignore[arg-type]


def mapped(error: Exception, *, connecting: bool = False, new: bool = False) -> TransportError:
    flight: Any = SimpleNamespace(connecting=connecting, new=new)
    return _mapped(error, flight, session())


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


CERTIFICATE = aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("certificate verify failed"))
HANDSHAKE = aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version number"))


@pytest.mark.parametrize(
    ("error", "kind", "maybe_applied", "retryable"),
    [
        (CERTIFICATE, ConnectFailed, False, False),
        (HANDSHAKE, ConnectFailed, False, False),
        (caused(aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(8, "EOF")), ssl.SSLEOFError()), ConnectFailed, False,
         True),
        (aiohttp.InvalidURL("https://"), ConnectFailed, False, False),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "refused")), ConnectFailed, False, True),
        (aiohttp.ClientConnectorDNSError(KEY, OSError("unknown")), ConnectFailed, False, True),
        (aiohttp.ClientProxyConnectionError(KEY, OSError("refused")), ConnectFailed, False, True),
        (aiohttp.ServerDisconnectedError(), ConnectionLost, True, True),
        (aiohttp.ClientOSError(), ConnectionLost, True, True),
        (aiohttp.ClientOSError(errno.EPIPE, "Broken pipe"), ConnectionLost, True, True),
        (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), ConnectionLost, True, True),
        (aiohttp.ClientConnectionError("Connection closed"), ConnectionLost, True, True),
        (aiohttp.ServerTimeoutError(), ConnectionLost, True, True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ConnectionLost, True, True),
        (TimeoutError(), ConnectionLost, True, True),
        (aiohttp.ClientPayloadError("not completed"), ConnectionLost, True, True),
        (aiohttp.ClientResponseError(INFO, (), status=400, message="Bad status line"), ProtocolViolation, True, True),
        (aiohttp.http.HttpProcessingError(code=400, message="odd"), ProtocolViolation, True, True),
        (ValueError("odd"), ProtocolViolation, True, True),
        (RuntimeError("odd"), ProtocolViolation, True, True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), ProtocolViolation, True, True),
        (AssertionError(), ProtocolViolation, True, True),
    ],
)  # fmt: skip
def test_exceptions(error: Exception, kind: type[TransportError], maybe_applied: bool, retryable: bool) -> None:
    made = mapped(error)
    assert (type(made), made.maybe_applied, made.retryable) == (kind, maybe_applied, retryable)
    assert made.message.isprintable()
    assert "400" not in made.message


@pytest.mark.parametrize(
    "error",
    [aiohttp.ServerDisconnectedError(), aiohttp.ClientOSError(), TimeoutError(), ValueError("odd"),
     aiohttp.ClientResponseError(INFO, (), status=407, message="Proxy Authentication Required"),
     aiohttp.ClientPayloadError("not completed")],
)  # fmt: skip
def test_while_a_connection_is_made_nothing_was_sent(error: Exception) -> None:
    made = mapped(error, connecting=True, new=True)
    assert (type(made), made.maybe_applied, made.retryable) == (ConnectFailed, False, True)


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), aiohttp.ClientOSError(None, None)])
def test_only_a_connection_that_was_idle_can_be_stale(error: Exception) -> None:
    stale, lost = mapped(error), mapped(error, new=True)
    assert isinstance(stale, ConnectionLost)
    assert isinstance(lost, ConnectionLost)
    assert (stale.stale, lost.stale) == (True, False)


def test_an_answer_that_breaks_off_is_never_stale() -> None:
    made = mapped(aiohttp.ClientPayloadError("not completed"))
    assert isinstance(made, ConnectionLost)
    assert not made.stale


def test_our_own_errors_stay_as_they_are() -> None:
    error = ProtocolViolation("too large", maybe_applied=True)
    assert mapped(error) is error


def test_texts_are_made_one_safe_line_without_the_token() -> None:
    error = aiohttp.ClientResponseError(INFO, (), status=400, message=f"Bad:\n\n  b'{TOKEN}\x1b[2J'\n    ^")
    assert mapped(error).message == r"the answer was not proper HTTP: Bad: b'****\x1b[2J'"
    assert len(mapped(ValueError("x" * 10_000)).message) < 300


def test_an_exception_without_a_text_gives_its_name() -> None:
    assert mapped(AssertionError()).message == "the answer was not proper HTTP: AssertionError"


@pytest.mark.parametrize("status", [200, 201, 500])
def test_a_token_is_blotted_out(status: int) -> None:
    headers = CIMultiDictProxy(CIMultiDict({"x-transaction-id": TOKEN}))
    same, told, text = session().blotted_answer((status, headers, b"a" + TOKEN.encode() * 2))
    assert (same, text) == (status, b"a********")
    assert told["X-Transaction-Id"] == "****"
    assert TOKEN not in repr(told)
    assert "canary" not in repr(session())


@pytest.mark.parametrize("status", [200, 503])
def test_a_header_that_comes_twice_stays_twice(status: int) -> None:
    fields = [("Set-Cookie", "a=1"), ("Date", "now"), ("set-cookie", f"b={TOKEN}"), ("x-transaction-id", "1")]
    _, told, _ = session().blotted_answer((status, CIMultiDictProxy(CIMultiDict(fields)), b""))
    assert told.getall("set-cookie") == ["a=1", f"b={TOKEN}" if status == 200 else "b=****"]
    assert (told["date"], told["X-Transaction-Id"], len(told)) == ("now", "1", 4)


def test_an_answer_without_the_token_is_not_copied() -> None:
    answer = (200, CIMultiDictProxy(CIMultiDict({"a": "b"})), b'{"data": {"id": "1"}}')
    _, headers, body = session().blotted_answer(answer)
    assert headers is answer[1]
    assert body is answer[2]
    assert session("short").blotted_answer((500, answer[1], b"short")) == (500, answer[1], b"short")
    assert session("short").blotted("short") == "short"


# Bodies


@pytest.mark.parametrize(
    ("encoding", "packed"), [("gzip", gzip.compress(b"{}", mtime=0)), (" Deflate ", zlib.compress(b"{}"))]
)
def test_a_body_is_inflated(encoding: str, packed: bytes) -> None:
    assert _inflated(packed, encoding) == (b"{}", True)
    assert _inflated(packed[:-1], encoding)[1]  # as far as it goes


@pytest.mark.parametrize(("encoding", "body"), [("br", b"{}"), ("identity", b"{}"), ("gzip", b"{}"), ("gzip", b"")])
def test_what_cannot_be_inflated_stays(encoding: str, body: bytes) -> None:
    assert _inflated(body, encoding) == (body, True)


@pytest.mark.parametrize(("size", "whole"), [(MOST_BYTES, True), (MOST_BYTES + 1, False), (64 * MOST_BYTES, False)])
def test_no_more_than_a_mebibyte_is_inflated(size: int, whole: bool) -> None:
    body, all_of_it = _inflated(gzip.compress(b" " * size, 1), "gzip")
    assert (len(body), all_of_it) == (MOST_BYTES, whole)
