"""Two clients on the same work in virtual time: the library's `Ledger`, and what people write by hand."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Literal

from benchmarks.bound import late, lower_bound
from benchmarks.model_server import Answer, ModelServer, Quota, Rounding
from xmediameta.clock import ServerClock
from xmediameta.ledger import Ledger, Limits
from xmediameta.limits import WindowName
from xmediameta.permits import Ticket
from xmediameta.windows import Window

ClientKind = Literal["xmediameta", "by hand"]


@dataclass(frozen=True)
class Scenario:
    """The work and the server.

    Attributes:
        shares: updates per account.
        user, app: (limit, span in seconds); the app's is shared by all accounts, None: no such window.
        outside: (requests per second, until when) that somebody else sends with the first account's token.
        phase: where windows begin, None: with their first request.
    """

    name: str
    shares: tuple[int, ...]
    user: tuple[int, float] = (500, 900.0)
    app: tuple[int, float] | None = None
    concurrency: int = 32
    latency: tuple[float, float] = (0.02, 2.0)
    faults: float = 0.0
    counts_faults: bool = True
    outside: tuple[float, float] | None = None
    skew: float = 0.0
    rounding: Rounding = "down"
    phase: float | None = None
    seed: int = 1


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        makespan, bound: seconds.
        requests: sent in all.
        refused: 429s, each a request in vain.
        faults: 503s.
        most_refused: 429s of the window that had most of them.
    """

    scenario: str
    client: ClientKind
    makespan: float
    bound: float
    requests: int
    refused: int
    faults: int
    most_refused: int

    @property
    def over_bound(self) -> float:
        return self.makespan / self.bound


@dataclass(eq=False)
class Job:
    """One update: its account, how long the server takes, and which of its attempts meet a 503."""

    account: int
    latency: float
    faults: int
    attempts: int = 0


class World:
    """Time, the server, and the work."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.server = ModelServer(
            skew=1.7e9 + scenario.skew, rounding=scenario.rounding, counts_faults=scenario.counts_faults
        )
        self.who: list[dict[WindowName, str]] = []
        for account in range(len(scenario.shares)):
            self.server.quotas["user-15min", str(account)] = Quota(*scenario.user, scenario.phase)
            self.who.append({"user-15min": str(account)})
        if scenario.app is not None:
            self.server.quotas["app-24hour", "app"] = Quota(*scenario.app, scenario.phase)
            for who in self.who:
                who["app-24hour"] = "app"
        random = Random(scenario.seed)
        left = list(scenario.shares)
        order = [account for account, share in enumerate(left) for _ in range(share)]
        random.shuffle(order)
        self.jobs = [
            Job(account, random.uniform(*scenario.latency), self._faults(random, scenario.faults)) for account in order
        ]
        self.open = len(self.jobs)
        self.finished = 0.0
        self.requests = 0
        self.faults = 0
        if scenario.outside is not None:
            self._spend(1 / scenario.outside[0], scenario.outside[1])

    @staticmethod
    def _faults(random: Random, rate: float) -> int:
        faults = 0
        while random.random() < rate:
            faults += 1
        return faults

    def _spend(self, every: float, until: float) -> None:
        def spend() -> None:
            self.server.spend(self.who[0], self.now)
            if self.now + every < until and self.open:
                self.at(self.now + every, spend)

        self.at(0.0, spend)

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def send(self, job: Job, answered: Callable[[Answer], None]) -> None:
        """The request arrives after half its latency, and its answer after all of it."""
        self.requests += 1
        job.attempts += 1
        fault = job.attempts <= job.faults

        def arrive() -> None:
            answer = self.server.arrive(self.who[job.account], self.now, fault=fault)
            if answer.status == 429:
                job.attempts -= 1  # a 429 is not the attempt that was to fail
            self.faults += answer.status == 503
            self.at(self.now + job.latency / 2, lambda: answered(answer))

        self.at(self.now + job.latency / 2, arrive)

    def done(self) -> None:
        self.open -= 1
        self.finished = self.now

    def run(self) -> None:
        while self.open:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def result(self, client: ClientKind) -> Result:
        return Result(
            self.scenario.name,
            client,
            self.finished,
            self.bound(),
            self.requests,
            self.server.refused,
            self.faults,
            max(period.refused for quota in self.server.quotas.values() for period in quota.periods),
        )

    def bound(self) -> float:
        """See `benchmarks.bound`."""
        accounts = range(len(self.scenario.shares))
        # A 503 that the server counts is one request more.
        counted = self.scenario.counts_faults
        extra = [sum(job.faults for job in self.jobs if job.account == account) * counted for account in accounts]
        quotas = self.server.quotas
        users = [
            late(
                quotas["user-15min", str(account)],
                [job.latency for job in self.jobs if job.account == account],
                extra[account],
            )
            for account in accounts
        ]
        app = quotas.get(("app-24hour", "app"))
        everything = late(app, [job.latency for job in self.jobs], sum(extra)) if app is not None else []
        return lower_bound(users, everything, self.scenario.concurrency)


@dataclass
class _Lane:
    ledger: Ledger
    waiting: deque[Job] = field(default_factory=deque)
    next_start: float = 0.0


class LedgerClient:
    """What `bulk` does, less the network: one Ledger per account, lanes in turn, 250 starts a second per account."""

    def __init__(self, world: World, *, starts: float = 250.0) -> None:
        self._world = world
        self._random = Random(world.scenario.seed + 1)
        self._spacing = 1 / starts
        self._clock = ServerClock(-world.server.skew)
        limits = Limits(user_15min=world.scenario.user, app_24hour=world.scenario.app)
        app = Window("app-24hour", self._clock, limits.app_24hour)
        self._lanes = [_Lane(Ledger(self._clock, limits, app)) for _ in world.who]
        for job in world.jobs:
            self._lanes[job.account].waiting.append(job)
        self._turn = deque(self._lanes)
        self._in_flight = 0
        self._timer = float("inf")

    def start(self) -> None:
        self._pump()

    def _pump(self) -> None:
        now, refused, wake = self._world.now, 0, float("inf")
        while self._in_flight < self._world.scenario.concurrency and refused < len(self._turn):
            lane = self._turn[0]
            self._turn.rotate(-1)
            at: float | None = None
            if not lane.waiting:
                refused += 1
                continue
            wait = lane.ledger.refusal(now)
            if wait is not None:
                at = wait.at
            elif now < lane.next_start:
                at = lane.next_start
            else:
                lane.next_start = max(now, lane.next_start) + self._spacing
                self._send(lane, lane.waiting.popleft(), lane.ledger.take())
                refused = 0
                continue
            refused += 1
            if at is not None:
                wake = min(wake, at)
        if now < wake < float("inf") and not now < self._timer <= wake:
            self._timer = wake
            self._world.at(wake, self._wake)

    def _wake(self) -> None:
        self._timer = float("inf")
        self._pump()

    def _send(self, lane: _Lane, job: Job, ticket: Ticket) -> None:
        world = self._world
        self._in_flight += 1

        def answered(answer: Answer) -> None:
            self._in_flight -= 1
            now = world.now
            self._clock.observe(world.server.date(now), now)
            if answer.status == 429:
                lane.ledger.refuse(ticket, answer.told, now)
                lane.waiting.appendleft(job)
            elif answer.status == 503:
                lane.ledger.observe(ticket, {}, now, conclusive=False)
                pause = self._random.uniform(0.0, min(30.0, 0.5 * 2**job.attempts))
                world.at(now + pause, lambda: self._again(lane, job))
            else:
                lane.ledger.observe(ticket, answer.told, now)
                world.done()
            self._pump()

        world.send(job, answered)

    def _again(self, lane: _Lane, job: Job) -> None:
        lane.waiting.appendleft(job)
        self._pump()


class _LeakyBucket:
    """`AsyncLimiter(limit, span)`: holds `limit`, leaks evenly."""

    def __init__(self, limit: int, span: float) -> None:
        self._every = span / limit
        self._tolerance = (limit - 1) * self._every
        self._full_at = 0.0

    def acquire(self, now: float) -> float:
        """When the caller may go on."""
        start = max(now, self._full_at - self._tolerance)
        self._full_at = max(self._full_at, start) + self._every
        return start


class HandwrittenClient:
    """Workers on one queue; each attempt passes its account's limiter; a random exponential wait after a 429 or 503."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = Random(world.scenario.seed + 2)
        limit, span = world.scenario.user
        self._limiters = [_LeakyBucket(limit, span) for _ in world.who]
        self._jobs = iter(world.jobs)

    def start(self) -> None:
        for _ in range(self._world.scenario.concurrency):
            self._next()

    def _next(self) -> None:
        job = next(self._jobs, None)
        if job is not None:
            self._attempt(job, 0)

    def _attempt(self, job: Job, failures: int) -> None:
        world = self._world

        def answered(answer: Answer) -> None:
            if answer.status == 200:
                world.done()
                self._next()
                return
            pause = self._random.uniform(0.0, min(60.0, 2.0 ** min(failures, 6)))
            world.at(world.now + pause, lambda: self._attempt(job, failures + 1))

        world.at(self._limiters[job.account].acquire(world.now), lambda: world.send(job, answered))


def run(scenario: Scenario, client: ClientKind) -> Result:
    """Do a scenario's work with one of the clients."""
    world = World(scenario)
    (LedgerClient(world) if client == "xmediameta" else HandwrittenClient(world)).start()
    world.run()
    return world.result(client)
