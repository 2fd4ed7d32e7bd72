"""Who is called back when a session ends: an HTTP server in the outside world, where pods reach it too."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from typing_extensions import override

from tests.cluster.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.outside import OutsideView

KEY = "e2e-0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass
class Callbacks:
    """What it was sent."""

    url: str = ""
    calls: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    """Headers and JSON."""

    def first(self) -> tuple[dict[str, str], Any]:
        """The first call, once it has come."""
        wait_until(lambda: bool(self.calls), what="the callback", seconds=30, interval=0.1)
        return self.calls[0]


@contextmanager
def receiving(outside: OutsideView) -> Iterator[Callbacks]:
    """Listen beside the model and the git host."""
    found = Callbacks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.calls.append((dict(self.headers), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        @override
        def log_message(self, *_: object) -> None:
            return

    host = urlsplit(outside.state.model.url).hostname or ""
    server = ThreadingHTTPServer((host, 0), Handler)
    found.url = f"http://{host}:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
