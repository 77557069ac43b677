"""A server that answers as fast as Python can: an asyncio protocol on httptools and uvloop, in a process of its own.

It reads the media id, says that it was applied, and sends the headers of both windows with plenty left. Run as a module
it prints its port and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

PLENTY: Final = 1_000_000_000
_ID: Final = re.compile(rb'"(?:media_)?id":\s*"?(\d+)')


@contextmanager
def serving(cpu: int | None) -> Generator[str]:
    """The base URL of a server, pinned to a CPU where there is one to spare."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.speed.server", "" if cpu is None else str(cpu)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Serve."""
    import os

    import httptools
    import uvloop

    if sys.argv[1]:
        os.sched_setaffinity(0, {int(sys.argv[1])})

    head = b""

    def renew() -> None:
        nonlocal head
        reset = int(time.time()) + 600
        head = (
            f"HTTP/1.1 200 OK\r\nDate: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}\r\n"
            "Content-Type: application/json\r\nx-transaction-id: 00f0c0ffee15c0de\r\nx-response-time: 42\r\n"
            f"x-rate-limit-limit: {PLENTY}\r\nx-rate-limit-remaining: {PLENTY - 1}\r\nx-rate-limit-reset: {reset}\r\n"
            f"x-app-limit-24hour-limit: {PLENTY}\r\nx-app-limit-24hour-remaining: {PLENTY - 1}\r\n"
            f"x-app-limit-24hour-reset: {reset + 3600}\r\n"
        ).encode()
        asyncio.get_running_loop().call_later(300, renew)

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.body = b""
            self.parser = httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_message_begin(self) -> None:
            self.body = b""

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            found = _ID.search(self.body)
            media_id = found.group(1) if found else b"0"
            answer = b'{"data":{"id":"' + media_id + b'","associated_metadata":{"alt_text":{"text":"A dancing cat"}}}}'
            self.transport.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer))  # type: ignore[attr-defined]

    async def serve() -> None:
        renew()
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(serve())


if __name__ == "__main__":
    main()
