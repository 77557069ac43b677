"""Which fault a request meets: by outage, by script per media id, by script for whoever comes next, or by chance.

In this order; the first that has one decides. An entry is used up by the attempt that meets it, and not by one that
was refused before it came to that: for its token, by a window, or by the contract. What is left is `unmet`.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from xmediameta.errors import ConfigurationError
from xmediameta.text import printable

from .catalogue import injected
from .faults import Injected

ANYONE: Final = "*"
_ID: Final = re.compile(r"[0-9]{1,19}")
# A script is written by hand; a larger file is something else.
_LARGEST_FILE: Final = 16 * 1024 * 1024

Entries = Iterable[str | int]


class _Outage(NamedTuple):
    start: float
    end: float
    fault: Injected


class Choice(NamedTuple):
    """What a request is to meet, and the script to cross it off from once it has."""

    entry: Injected
    queue: deque[Injected] | None = None

    @property
    def counted(self) -> bool:
        """Whether the request takes from its windows."""
        return self.entry.fault is None or self.entry.fault.counted


class Script:
    """The faults to come.

    Args:
        fail: the share of requests that meet a 503, or a share for each of several faults.
        seed: of the chance.
    """

    def __init__(self, fail: float | Mapping[str, float], seed: int) -> None:
        shares = fail if isinstance(fail, Mapping) else {"503": fail}
        self._chances = [(injected(name), _share(name, share)) for name, share in shares.items() if share]
        if sum(share for _, share in self._chances) > 1:
            raise ConfigurationError("the shares of faults add up to more than 1")
        self._random = random.Random(f"faults {seed}")
        self._queues: dict[str, deque[Injected]] = {}
        self._outages: list[_Outage] = []

    def add(self, media_id: str, entries: Entries) -> None:
        """Append entries to what a media id meets, or (`"*"`) to what the next requests of any id meet."""
        _check_id(media_id)
        if isinstance(entries, str):
            raise ConfigurationError(f"a script is a list of faults, not the text {printable(repr(entries), 60)}")
        new = [injected(entry) for entry in entries]
        if new:
            self._queues.setdefault(media_id, deque()).extend(new)

    def outage(self, fault: str | int, start: float, end: float) -> None:
        """All requests from `start` to `end`, in the loop's time, meet a fault."""
        self._outages.append(_Outage(start, end, injected(fault)))

    @property
    def unmet(self) -> dict[str, tuple[str, ...]]:
        """Scripted faults that were not met yet, by media id."""
        left = {
            media_id: tuple(entry.name for entry in queue if entry.fault is not None)
            for media_id, queue in self._queues.items()
        }
        return {media_id: names for media_id, names in left.items() if names}

    def draw(self) -> Injected | None:
        """A fault by chance, once per request."""
        if not self._chances:
            return None
        mark = self._random.random()
        for entry, share in self._chances:
            if mark < share:
                return entry
            mark -= share
        return None

    def early(self, now: float, drawn: Injected | None) -> Choice | None:
        """A fault that strikes before the body is read, so whatever its media id."""
        outage = self._outage_at(now)
        if outage is not None:
            return outage if _strikes_early(outage.entry) else None
        choice = self._next(ANYONE)
        if choice is not None:
            return choice if _strikes_early(choice.entry) else None
        return Choice(drawn) if drawn is not None and _strikes_early(drawn) else None

    def choose(self, media_id: str, now: float, drawn: Injected | None) -> Choice | None:
        """What a request for a media id is to meet; None is a normal answer."""
        return (
            self._outage_at(now)
            or self._next(media_id)
            or self._next(ANYONE)
            or (Choice(drawn) if drawn is not None else None)
        )

    def cross_off(self, choice: Choice) -> None:
        """An entry was met."""
        if choice.queue is not None:
            choice.queue.popleft()

    def _outage_at(self, now: float) -> Choice | None:
        for outage in self._outages:
            if outage.start <= now < outage.end:
                return Choice(outage.fault)
        return None

    def _next(self, media_id: str) -> Choice | None:
        queue = self._queues.get(media_id)
        return Choice(queue[0], queue) if queue else None


def load_script(path: str | Path) -> dict[str, list[str | int]]:
    """Read a script: a JSON (or `.toml`) object of media id, or `"*"`, to a list of faults, one per attempt.

    Raises:
        ConfigurationError: names the file, the media id and what is wrong.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError(f"{path}: a script of more than {_LARGEST_FILE:,} bytes is not read")
        text = path.read_text("utf-8-sig")
        plain: object = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 (byte {error.start + 1})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {printable(str(error), 200)}") from error
    if not isinstance(plain, dict):
        raise ConfigurationError(f"{path}: must be an object of media id to a list of faults")
    script: dict[str, list[str | int]] = {}
    for media_id, entries in cast("dict[str, Any]", plain).items():
        try:
            _check_id(media_id)
            if not isinstance(entries, list):
                raise ConfigurationError('must be a list of faults, such as ["503", "ok"]')
            for entry in cast("list[object]", entries):
                injected(entry)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {printable(media_id, 40)}: {error.message}") from error
        script[media_id] = entries
    return script


def _check_id(media_id: object) -> None:
    if not isinstance(media_id, str) or (media_id != ANYONE and not _ID.fullmatch(media_id)):
        shown = printable(repr(media_id), 60)
        raise ConfigurationError(f"a script is for a media id (1 to 19 digits) or for any ('*'), not {shown}")


def _strikes_early(entry: Injected) -> bool:
    return entry.fault is not None and entry.fault.early


def _share(name: str, share: float) -> float:
    if not 0 <= share <= 1:
        raise ConfigurationError(f"the share of {name!r} must be from 0 to 1, not {share!r}")
    return share
