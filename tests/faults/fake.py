"""A transport without sockets, so that minutes of outage pass in no time (under `looptime`)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator

from multidict import CIMultiDict, CIMultiDictProxy

from xmediameta import Client, Metadata, Outcome, RetryPolicy, Update, XMediaMetaError
from xmediameta.attempts import wait_for_verdict
from xmediameta.bulk import BulkRun
from xmediameta.credentials import Secret
from xmediameta.errors import ClientClosed, TransportError
from xmediameta.transport import Answer

Server = Callable[[float, str], "Answer | TransportError"]

CAT = Metadata.of(alt_text="A dancing cat")
OLD, NEW = "canary-old-0123456789abcdef", "canary-new-0123456789abcdef"
QUICK = RetryPolicy(wait=wait_for_verdict(base=0.001, cap=0.002))


def offline(auth: object = OLD, **options: object) -> Client:
    """A client for a fake transport."""
    return Client(auth, base_url="http://127.0.0.1:9", limits=None, pace=None, **options)  # type: ignore[arg-type]


def reply(status: int, body: object = None, **headers: str) -> Answer:
    """An answer; underscores in the names of headers stand for hyphens."""
    told = CIMultiDict({"Content-Type": "application/json"})
    told.update({name.replace("_", "-"): value for name, value in headers.items()})
    return status, CIMultiDictProxy(told), b"" if body is None else json.dumps(body).encode()


def applied(media_id: str) -> Answer:
    """The 200 of an update."""
    return reply(200, {"data": {"id": media_id}})


class FakeTransport:
    """Takes the place of `Transport`.

    Attributes:
        server: gives, for a time and a media id, the answer or what is raised.
        latency: seconds until an answer; `failing`, until what is raised.
        log: when each request left, for which media, and how it ended.
    """

    def __init__(self, server: Server, latency: float = 0.1, failing: float = 0.001) -> None:
        self.server, self.latency, self.failing = server, latency, failing
        self.log: list[tuple[float, str, object]] = []
        self.signed: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.closed = False

    def session(self, authorization: Secret) -> str:
        return str(authorization)

    def drop(self, session: str) -> None:
        pass

    async def post(self, session: str, body: bytes, *, fresh: bool = False) -> Answer:
        if self.closed:
            raise ClientClosed("the client is closed")
        media_id = json.loads(body)["id"]
        now = asyncio.get_running_loop().time()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.signed.append(session)
        try:
            answer = self.server(now, media_id)
            self.log.append((now, media_id, answer if isinstance(answer, Exception) else answer[0]))
            await asyncio.sleep(self.failing if isinstance(answer, Exception) else self.latency)
        finally:
            self.in_flight -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True

    def between(self, start: float, end: float, *, good: bool | None = None) -> int:
        """How many requests left between two times."""
        return sum(start <= at < end and (good is None or good is (result == 200)) for at, _, result in self.log)

    @property
    def by_media(self) -> Counter[str]:
        """How many requests were made for each media."""
        return Counter(media_id for _, media_id, _ in self.log)


Fake = Callable[..., FakeTransport]


def updates(number: int, start: int = 1) -> Iterator[Update]:
    """So many updates of different media."""
    return (Update(str(one), Metadata.of(alt_text="A dancing cat")) for one in range(start, start + number))


async def drained(run: BulkRun) -> tuple[list[Outcome], BaseException | None]:
    """All outcomes of a run, and what it raised in the end."""
    outcomes: list[Outcome] = []
    try:
        async with run:
            async for outcome in run:
                outcomes.append(outcome)  # noqa: PERF401 - those before the error are kept
    except XMediaMetaError as error:
        return outcomes, error
    return outcomes, None
