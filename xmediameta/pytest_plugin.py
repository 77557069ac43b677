"""A pytest plugin for those who use this package: X's endpoint as a fixture.

It is found by its entry point. Until a test asks for the fixture, nothing of the package but this module is imported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from xmediameta.sandbox import Sandbox

TOKEN: Final = "sandbox-token"  # noqa: S105 - the sandbox takes any


def _fixture() -> Callable[[Any], Any]:
    """pytest-asyncio's decorator where that is installed; anyio's plugin takes pytest's own."""
    try:
        return import_module("pytest_asyncio").fixture  # type: ignore[no-any-return]
    except ModuleNotFoundError:
        return pytest.fixture


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "xmediameta(**options): how the sandbox of `xmediameta_sandbox` is made, such as limit=2, window=900"
    )


@_fixture()
async def xmediameta_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """X's endpoint on a free port of this machine, in the place of X for `Client.from_env` and the command.

    `@pytest.mark.xmediameta(limit=2, window=900)` makes it with options of `Sandbox`. With looptime's marker its
    windows pass as fast as nothing happens.
    """
    from xmediameta.sandbox import Sandbox  # noqa: PLC0415 - brings aiohttp's server

    marker = request.node.get_closest_marker("xmediameta")
    options: dict[str, Any] = {} if marker is None else dict(marker.kwargs)
    async with Sandbox(**options) as sandbox:
        monkeypatch.setenv("XMEDIAMETA_TOKEN", TOKEN)
        monkeypatch.setenv("XMEDIAMETA_BASE_URL", sandbox.url)
        yield sandbox
