"""The Ledger as a state machine against a fixed-window server that shares no code with it.

Limits are at least four, since so many interactive calls may meet an unknown window together.

Sole user. Whatever the order and the latency (below the window), no request is refused. And whenever nothing is in
flight, a refusal is justified: either the server's window has no more left than what is kept for interactive calls
plus the requests that ended without headers and after which no request was sent and answered (the server may have
counted those, and nothing could tell since); or the window is over at the server, but by whole-second headers not yet
surely so. With nothing in flight nothing else is withheld, so a window loses at its end only what is in flight over it.

With an outside spender: the requests that one window refuses were all in flight when its first refusal was read. Once
the spender has stopped, none is refused in a window that begins later, nor in the present one as soon as one answer to
a request that the server received after the stop has been read.

All times are multiples of 1/64 s, so that the arithmetic of floats is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from benchmarks.model_server import Answer, ModelServer, Period, Quota, Rounding
from xmediameta.clock import ServerClock
from xmediameta.ledger import NO_LIMITS, Ledger, Limits
from xmediameta.limits import RateLimit, WindowName
from xmediameta.permits import Ticket, WaitUntil
from xmediameta.windows import Window

TICK = 1 / 64
MOST_IN_FLIGHT = 6


@dataclass(frozen=True)
class World:
    """What hypothesis chooses once."""

    accounts: int
    share_app: bool
    user: tuple[int, int]
    app: tuple[int, int]
    day: tuple[int, int] | None
    anchored: bool
    phase: int
    skew: int
    rounding: Rounding
    counts_faults: bool
    keep: int
    assumed: bool
    silent: frozenset[str]


WORLDS = st.builds(
    World,
    accounts=st.integers(1, 3),
    share_app=st.booleans(),
    user=st.tuples(st.integers(4, 9), st.integers(4, 60)),
    app=st.tuples(st.integers(4, 14), st.integers(20, 100)),
    day=st.none() | st.tuples(st.integers(4, 10), st.integers(20, 100)),
    anchored=st.booleans(),
    phase=st.integers(0, 100 * 64),
    skew=st.integers(-600 * 64, 600 * 64),
    rounding=st.sampled_from(["down", "up", "nearest"]),
    counts_faults=st.booleans(),
    keep=st.integers(0, 2),
    assumed=st.booleans(),
    silent=st.sampled_from([frozenset[str](), frozenset(["limit"]), frozenset(["reset"]), frozenset(["remaining"])]),
)
ORDERS = st.permutations(range(MOST_IN_FLIGHT))


@dataclass(eq=False)
class Sent:
    """A request on its way."""

    account: int
    ticket: Ticket
    at: float
    order: int
    answer: Answer | None = None
    arrived: float = 0.0


@dataclass(eq=False)
class Known:
    """What this test itself has seen of one account."""

    ledger: Ledger
    who: dict[WindowName, str]
    lost: list[tuple[str, int]] = field(default_factory=list)
    heard: bool = False


class Machine(RuleBasedStateMachine):
    """Rules and bookkeeping that both machines share."""

    @initialize(world=WORLDS)
    def begin(self, world: World) -> None:
        self.now = 1000.0
        self.order = 0
        self.world = world
        self.clock = ServerClock(fallback=-12345.0)
        skew = 1.7e9 + world.skew * TICK
        self.server = ModelServer(skew=skew, rounding=world.rounding, counts_faults=world.counts_faults)
        limits = Limits(user_15min=world.user, app_24hour=world.app) if world.assumed else NO_LIMITS
        shared = Window("app-24hour", self.clock, limits.app_24hour)
        phase = None if world.anchored else world.phase * TICK
        self.accounts: list[Known] = []
        for number in range(world.accounts):
            app = "app" if world.share_app else f"app {number}"
            who: dict[WindowName, str] = {"user-15min": f"user {number}", "app-24hour": app}
            self.server.quotas["user-15min", f"user {number}"] = Quota(*world.user, phase)
            self.server.quotas["app-24hour", app] = Quota(*world.app, phase)
            if world.day is not None:
                who["user-24hour"] = f"user {number}"
                self.server.quotas["user-24hour", f"user {number}"] = Quota(*world.day, phase)
            ledger = Ledger(self.clock, limits, shared if world.share_app else None, keep=world.keep)
            self.accounts.append(Known(ledger, who))
        self.in_flight: list[Sent] = []

    # What can happen

    @rule(
        account=st.integers(0, 2),
        interactive=st.booleans(),
        count=st.integers(1, MOST_IN_FLIGHT),
        at_once=st.booleans(),
    )
    def ask(self, account: int, interactive: bool, count: int, at_once: bool) -> None:
        """One by one; `at_once` is how a gate asks first, and what it gives must be as good."""
        account %= self.world.accounts
        ledger = self.accounts[account].ledger
        for _ in range(count):
            if len(self.in_flight) >= MOST_IN_FLIGHT:
                return
            leave: Ticket | WaitUntil | None = ledger.at_once(self.now, interactive) if at_once else None
            leave = leave or ledger.reserve(self.now, interactive=interactive)
            if isinstance(leave, WaitUntil):
                assert leave.at is None or leave.at > self.now, "who waits until now would spin"
                assert leave.at is not None or self.in_flight, "nothing can come in, so this would wait for ever"
                return
            self.order += 1
            self.in_flight.append(Sent(account, leave, self.now, self.order))

    @precondition(lambda self: any(sent.answer is None for sent in self.in_flight))
    @rule(pick=st.integers(0, 5), fault=st.booleans())
    def arrive(self, pick: int, fault: bool) -> None:
        waiting = [sent for sent in self.in_flight if sent.answer is None]
        sent = waiting[pick % len(waiting)]
        self.received(sent, fault=fault and self.may_be_silent(sent))

    @precondition(lambda self: any(sent.answer is not None for sent in self.in_flight))
    @rule(pick=st.integers(0, 5), bare=st.booleans())
    def answer(self, pick: int, bare: bool) -> None:
        waiting = [sent for sent in self.in_flight if sent.answer is not None]
        sent = waiting[pick % len(waiting)]
        self.answered(sent, bare=bare and self.may_be_silent(sent))

    @precondition(lambda self: self.in_flight)
    @rule(arrivals=ORDERS, answers=ORDERS, faults=st.sampled_from([0, 0, 1, 2, 9, 63]))
    def answer_all(self, arrivals: list[int], answers: list[int], faults: int) -> None:
        """Nothing is left in flight."""
        requests = list(self.in_flight)
        for number in arrivals:
            if number < len(requests) and requests[number].answer is None:
                sent = requests[number]
                self.received(sent, fault=bool(faults >> number & 1) and self.may_be_silent(sent))
        for number in answers:
            if number < len(requests):
                self.answered(requests[number])

    @precondition(lambda self: self.in_flight)
    @rule(pick=st.integers(0, 5))
    def lose(self, pick: int) -> None:
        """The client gives up on an answer."""
        waiting = [
            sent
            for sent in self.in_flight
            if (sent.answer is None or sent.answer.status != 429) and self.may_be_silent(sent)
        ]
        if not waiting:
            return
        sent = waiting[pick % len(waiting)]
        self.in_flight.remove(sent)
        self.accounts[sent.account].ledger.release(sent.ticket, self.now, maybe_sent=True)
        self.forget(sent)

    @precondition(lambda self: any(sent.answer is None for sent in self.in_flight))
    @rule(pick=st.integers(0, 5))
    def withdraw(self, pick: int) -> None:
        """A request is cancelled before it is sent."""
        waiting = [sent for sent in self.in_flight if sent.answer is None]
        sent = waiting[pick % len(waiting)]
        self.in_flight.remove(sent)
        self.accounts[sent.account].ledger.release(sent.ticket, self.now, maybe_sent=False)

    @rule(ticks=st.sampled_from([1, 10, 63, 64, 65, 130, 300, 1000]))
    def wait(self, ticks: int) -> None:
        self.pass_until(self.now + ticks * TICK)

    @rule(account=st.integers(0, 2))
    def wait_for_window(self, account: int) -> None:
        leave = self.accounts[account % self.world.accounts].ledger.refusal(self.now)
        if leave is not None and leave.at is not None:
            self.pass_until(leave.at)

    # How it is done

    def may_be_silent(self, sent: Sent) -> bool:
        """Whether a request may end without headers: not while its windows are neither told of nor assumed."""
        return self.accounts[sent.account].heard or (self.world.assumed and self.world.day is None)

    def pass_until(self, at: float) -> None:
        """Let time pass; what has been on its way for nearly a window arrives and is answered first."""
        longest = min(self.world.user[1], self.world.app[1], self.world.day[1] if self.world.day else 100) - TICK
        while self.in_flight and min(sent.at for sent in self.in_flight) + longest < at:
            oldest = min(self.in_flight, key=lambda sent: sent.at)
            self.now = max(self.now, oldest.at + longest)
            if oldest.answer is None:
                self.received(oldest)
            self.answered(oldest)
        self.now = max(self.now, at)

    def received(self, sent: Sent, *, fault: bool = False) -> None:
        sent.answer = self.server.arrive(self.accounts[sent.account].who, self.now, fault=fault)
        sent.arrived = self.now

    def answered(self, sent: Sent, *, bare: bool = False) -> None:
        assert sent.answer is not None
        self.in_flight.remove(sent)
        self.clock.observe(self.server.date(self.now), self.now)
        known, answer, silent = self.accounts[sent.account], sent.answer, self.world.silent
        if answer.status == 429:
            self.refused(sent, answer)
            known.ledger.refuse(sent.ticket, answer.told, self.now)
            return
        told: dict[WindowName, RateLimit] = {}
        if not bare:
            told = {
                name: RateLimit(
                    None if "limit" in silent else limit.limit,
                    None if "remaining" in silent else limit.remaining,
                    None if "reset" in silent else limit.reset,
                )
                for name, limit in answer.told.items()
            }
        known.ledger.observe(sent.ticket, told, self.now, conclusive=answer.status != 503)
        if told:
            known.heard = True
            for other in self.accounts:
                other.lost = [
                    (owner, order)
                    for owner, order in other.lost
                    if order >= sent.order or owner not in {f"{name} {whose}" for name, whose in known.who.items()}
                ]
            self.heard(sent, answer)
        else:
            self.forget(sent)

    def forget(self, sent: Sent) -> None:
        """A request has ended without headers."""
        known = self.accounts[sent.account]
        known.lost += [(f"{name} {whose}", self.order) for name, whose in known.who.items()]

    def refused(self, sent: Sent, answer: Answer) -> None:
        raise NotImplementedError

    def heard(self, sent: Sent, answer: Answer) -> None:
        pass


class SoleUser(Machine):
    """Nobody else spends."""

    def refused(self, sent: Sent, answer: Answer) -> None:
        raise AssertionError(f"sent in vain: {answer}")

    @invariant()
    def the_clock_is_a_lower_bound(self) -> None:
        assert self.clock.offset <= self.server.skew

    @invariant()
    def refusals_are_justified(self) -> None:
        if self.in_flight:
            return
        for known in self.accounts:
            for interactive in (True, False):
                leave = known.ledger.refusal(self.now, interactive=interactive)
                if leave is not None:
                    self.justified(known, leave, 0 if interactive else self.world.keep)

    def justified(self, known: Known, leave: WaitUntil, keep: int) -> None:
        assert leave.at is not None, "nothing is in flight, so nothing can come in"
        assert leave.at > self.now
        owner = known.who[leave.window]
        quota = self.server.quotas[leave.window, owner]
        if self.world.silent & {"reset", "remaining"} or (self.world.silent and not self.world.assumed):
            return  # the tally's own tests say what it withholds; and a limit that nobody tells is guessed low
        late = 2 + self.server.skew - self.clock.offset
        if any(leave.at <= period.end + late for period in quota.periods if period.end <= self.now):
            return  # over at the server, not surely so here
        unsure = [order for other in self.accounts for whose, order in other.lost if whose == f"{leave.window} {owner}"]
        kept = keep if keep < quota.limit else 0
        assert quota.remaining(self.now) <= kept + len(unsure)
        assert unsure or leave.at <= quota.periods[-1].end + late


class OutsideSpender(Machine):
    """Somebody else spends of the same windows, and stops at some time."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped_at: float | None = None
        self.known_since: dict[int, int] = {}
        self.vain: dict[int, tuple[int, int]] = {}

    @precondition(lambda self: self.stopped_at is None)
    @rule(account=st.integers(0, 2), count=st.integers(1, 5))
    def spend(self, account: int, count: int) -> None:
        self.server.spend(self.accounts[account % self.world.accounts].who, self.now, count)

    @precondition(lambda self: self.stopped_at is None)
    @rule()
    def stop(self) -> None:
        self.pass_until(self.now + TICK)  # what was received in the same instant was received before it
        self.stopped_at = self.now

    def refused(self, sent: Sent, answer: Answer) -> None:
        for name in answer.spent:
            period: Period = answer.periods[name]
            most, count = self.vain.get(id(period), (len(self.in_flight) + 1, 0))
            self.vain[id(period)] = (most, count + 1)
            assert count < most, "more in vain than were in flight when the first refusal was read"
            if self.stopped_at is not None and not self.world.silent & {"reset", "remaining"}:
                assert period.start <= self.stopped_at, "in vain in a window in which nobody else has spent"
                known_since = self.known_since.get(id(period))
                assert known_since is None or sent.order <= known_since, "in vain although all was known"

    def heard(self, sent: Sent, answer: Answer) -> None:
        if self.stopped_at is not None and sent.arrived >= self.stopped_at:
            for period in answer.periods.values():
                self.known_since.setdefault(id(period), self.order)


TestSoleUser = SoleUser.TestCase
TestSoleUser.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestOutsideSpender = OutsideSpender.TestCase
TestOutsideSpender.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
