"""The server of the explorer and the lessons: this machine alone, no token, no network."""

from __future__ import annotations

import errno
import re
import socket
import threading
import time
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from convsmith.errors import ArgumentError, MissingExtra

__all__ = ["EXPLORER", "HOST", "PORT", "address", "free_port", "make_app", "serve"]

Index = Callable[[Mapping[str, str]], str]

HOST = "127.0.0.1"
PORT = 2718
"""Tried first; the next ones after it where it is taken."""

EXPLORER = Path(__file__).with_name("explorer.py")

_LOCAL = re.compile(rf"({re.escape(HOST)}|localhost)(:\d{{1,5}})?")
_PORTS = 50
_LAST_PORT = 65_535


def make_app(notebooks: Mapping[str, Path], index: Index | None = None) -> Any:
    """An ASGI app that runs notebooks at their paths, for requests from this machine alone.

    Args:
        notebooks: a path such as `/` or `/2` and the notebook that it runs.
        index: from the parameters of an address to the page at `/`, where no notebook is.

    Raises:
        MissingExtra: without marimo.
    """
    try:
        import marimo
    except ImportError:
        raise MissingExtra("the explorer", extra="explore", package="marimo") from None
    builder = marimo.create_asgi_app(quiet=True, include_code=False)
    for path, notebook in notebooks.items():
        builder = builder.with_app(path=path, root=str(notebook))
    return _Local(builder.build(), index)


class _Local:
    """Answers only what names this machine: another site's page cannot reach through a browser."""

    def __init__(self, app: Any, index: Index | None) -> None:
        self._app = app
        self._index = index

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refusal = _refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is not None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await _answer(send, *refusal, "text/plain")
            return
        if self._index is not None and scope["type"] == "http" and scope["path"] == "/":
            query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            await _answer(send, 200, self._index(query), "text/html; charset=utf-8")
            return
        await self._app(scope, receive, send)

    def close(self) -> None:
        """End the notebooks of those who are connected.

        Each waits for a request in a thread of a pool, which Python joins before it exits. marimo
        ends them only where its own server does.
        """
        for route in getattr(self._app, "routes", ()):
            state = getattr(getattr(route, "app", None), "state", None)
            manager = getattr(state, "session_manager", None)
            if manager is not None:
                manager.close_all_sessions()


async def _answer(send: Any, status: int, text: str, kind: str) -> None:
    headers = [(b"content-type", kind.encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _refusal(scope: Mapping[str, Any]) -> tuple[int, str] | None:
    """Status and reason for a request that is malformed or not of this machine; None otherwise."""
    names = [name for name, _ in scope["headers"]]
    if names.count(b"host") > 1 or names.count(b"origin") > 1:
        return 400, "malformed request\n"
    return None if _is_local(scope) else (403, "only from this machine\n")


def _is_local(scope: Mapping[str, Any]) -> bool:
    headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    if not _LOCAL.fullmatch(host):  # a parser of addresses would forgive line ends and users
        return False
    return headers.get(b"origin", f"http://{host}") in (f"http://{host}", f"https://{host}")


def free_port(requested: int | None = None) -> int:
    """The port that was asked for, or the first free one from `PORT` on.

    Raises:
        ArgumentError: it is not a port or in use, or no port is free.
    """
    if requested is not None and not 1 <= requested <= _LAST_PORT:
        raise ArgumentError(f"port must be 1–{_LAST_PORT}, not {requested}")
    candidates = range(PORT, PORT + _PORTS) if requested is None else [requested]
    reason = "in use"
    for port in candidates:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    reason = f"not available: {error.strerror}"
                continue
            return int(trial.getsockname()[1])
    if requested is None:
        raise ArgumentError(f"no port from {PORT} to {PORT + _PORTS - 1} is free: pass one")
    raise ArgumentError(f"port {requested} is {reason}")


def address(port: int, path: str = "/", query: Mapping[str, str] | None = None) -> str:
    """What to open in a browser.

    >>> address(2718, query={"kernel": "3x2"})
    'http://127.0.0.1:2718/?kernel=3x2'
    """
    return f"http://{HOST}:{port}{path}" + (f"?{urlencode(query)}" if query else "")


def serve(app: Any, port: int, url: str, *, browser: bool) -> None:
    """Serve until interrupted; with `browser`, open `url` as soon as it answers."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="error"))
    if browser:
        threading.Thread(target=_open, args=(server, url), daemon=True).start()
    # What a first click would otherwise wait for.
    threading.Thread(target=_warm, daemon=True).start()
    try:
        server.run()
    finally:
        app.close()


def _open(server: Any, url: str) -> None:
    while not server.started:
        time.sleep(0.05)
    webbrowser.open(url)


def _warm() -> None:
    with suppress(ImportError):
        import_module("convsmith.measure")
