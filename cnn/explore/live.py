"""A page that is served on this machine, so that it can send images to the net, one by one. Needs the extra ``live``.

Nobody else may use the net: the address has a random token in it, only this machine is answered, and no page of
another origin. Docs of the libraries: starlette.io, uvicorn.org.
"""

import asyncio
import html
import json
import os
import queue
import re
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn import Config, Server

HOST = "127.0.0.1"
LIMIT = 2**25  # bytes of an image
MAX_NAME = 200  # characters of its name
WAIT = 1.0  # seconds; Windows notices Ctrl-C only between two waits
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address has the token in it
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
QUIET: dict[str, Any] = {"log_config": None, "log_level": "critical", "access_log": False, "server_header": False}
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"')
REASONS = {
    404: "There is nothing at this address: open the one that cnn explore printed.",
    405: "Images are sent with POST, and the page is read with GET.",
    413: f"The image is too large: at most {LIMIT // 2**20} MB can be sent. Make it smaller first.",
}

Answer = Callable[[bytes, str, int | None], bytes]
Job = tuple["Future[bytes]", bytes, str, int | None]


def listen(port: int | None = None) -> socket.socket:
    """Return a socket on this machine alone, at a port, by default a free one.

    Raises
    ------
    ValueError
        If the port is taken, or not for every user.

    Examples
    --------
    >>> with listen() as listener:
    ...     listener.getsockname()[0]
    '127.0.0.1'
    """
    try:
        return socket.create_server((HOST, port or 0))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ValueError(
            f"port {port} cannot be used ({reason}): give another one, or leave out --port for a free one"
        ) from None


def address(listener: socket.socket, token: str) -> str:
    """Return the address of the page."""
    return f"http://{HOST}:{listener.getsockname()[1]}/{token}/"


def packed(about: dict[str, Any], chunk: bytes) -> bytes:
    r"""Return an answer as the page reads it: the length of the JSON (4 bytes, little endian), the JSON, the chunk.

    Examples
    --------
    >>> packed({"note": ""}, b"abc")
    b'\x0b\x00\x00\x00{"note":""}abc'
    """
    text = json.dumps(about, allow_nan=False, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "little") + text + chunk


def serve(text: str, about: dict[str, Any], listener: socket.socket, token: str, answer: Answer) -> None:
    """Serve a page until KeyboardInterrupt.

    The net works in the thread that calls this, on one image at a time, so that Ctrl-C ends it at once; the server has
    a thread of its own.

    Parameters
    ----------
    text : str
        The page, as `cnn.explore.page` makes it.
    about : dict
        What the page needs to know to read images, besides the size of the largest.
    listener : socket
        From `listen`.
    token : str
        The part of the address that nobody can guess.
    answer : function
        Of the bytes of an image, its name, and its true class or None; returns what `packed` returns. A ValueError or
        OSError is told to the user.
    """
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    app = LivePage(text, about, listener.getsockname()[1], token, jobs)
    server = Server(Config(app, loop="asyncio", http="h11", ws="none", lifespan="off", **QUIET))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            _do_next(jobs, answer)
        raise RuntimeError("the server has stopped")
    finally:
        server.should_exit = server.force_exit = True
        thread.join(WAIT)


def _do_next(jobs: "queue.SimpleQueue[Job]", answer: Answer) -> None:
    """Wait a moment for an image, and give the answer to the thread of the server."""
    try:
        future, data, name, label = jobs.get(timeout=WAIT)
    except queue.Empty:
        return
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(answer(data, name, label))
    except Exception as error:
        future.set_exception(error)


class LivePage:
    """The ASGI application: the page, and the answers to its images.

    Parameters
    ----------
    text, about, token
        As in `serve`.
    port : int
        Of this machine.
    jobs : queue
        Receives an image, and a future for its answer.
    """

    def __init__(self, text: str, about: dict[str, Any], port: int, token: str, jobs: "queue.SimpleQueue[Job]") -> None:
        self._page, self._policy = _with_connection(text, about | {"limit": LIMIT})
        self._hosts = [f"{host}:{port}" for host in (HOST, "localhost")]
        self._origins = [f"http://{host}" for host in self._hosts]
        self._token, self._jobs = token.encode(), jobs
        routes = [Route("/{token}/", self._send_page), Route("/{token}/images", self._send_answer, methods=["POST"])]
        self._routes = Starlette(routes=routes, exception_handlers={HTTPException: _unknown})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it, before its body is read."""
        refusal = self._refusal(Request(scope))
        answering = self._routes if refusal is None else _said(403, refusal)
        await answering(scope, receive, send)

    def _refusal(self, request: Request) -> str | None:
        """Return why a request is not answered; None if it is."""
        if request.headers.get("host") not in self._hosts:
            return "Only the host 127.0.0.1 or localhost is answered, with the port that cnn explore printed."
        if any(origin not in self._origins for origin in request.headers.getlist("origin")):
            return "Pages of other origins are not answered."
        given = request.scope["path"].strip("/").partition("/")[0]
        if not secrets.compare_digest(given.encode(), self._token):
            return "The address has not the right token in it: open the one that cnn explore printed, all of it."
        return None

    async def _send_page(self, _: Request) -> Response:
        headers = HEADERS | {"Content-Security-Policy": f"{self._policy}; frame-ancestors 'none'"}
        return Response(self._page, media_type="text/html", headers=headers)

    async def _send_answer(self, request: Request) -> Response:
        label = request.query_params.get("label")
        if label is not None and not re.fullmatch("[0-9]{1,9}", label):
            return _said(400, "The true class must be a class id, 0 or larger.")
        data = await _body(request)
        if data is None:
            return _said(413, REASONS[413])
        future: Future[bytes] = Future()
        name = request.query_params.get("name", "image")[:MAX_NAME]
        self._jobs.put((future, data, name, None if label is None else int(label)))
        try:
            answer = await asyncio.wrap_future(future)
        except (ValueError, OSError) as error:
            return _said(400, str(error))
        except MemoryError:
            return _said(413, "There is not enough memory for this image: make it smaller first.")
        except Exception as error:
            return _said(500, f"{type(error).__name__}: {error}. This is a bug in cnn.")
        headers = HEADERS | {"Content-Security-Policy": NO_CONTENT}
        return Response(answer, media_type="application/octet-stream", headers=headers)


def _with_connection(text: str, about: dict[str, Any]) -> tuple[bytes, str]:
    """Return the page, which now knows that it is served and may ask its own origin, and its policy."""
    policy = POLICY.search(text)[1]  # type: ignore[index]  # every page has one
    connected = f"{policy}; connect-src 'self'"
    text = text.replace(policy, connected, 1)
    live = html.escape(json.dumps(about))
    return text.replace('<div id="app">', f'<div id="app" data-live="{live}">', 1).encode(), connected


async def _body(request: Request) -> bytes | None:
    """Return the body of a request; None as soon as it is clear that it is too large."""
    if int(request.headers.get("content-length", 0)) > LIMIT:
        return None
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LIMIT:
            return None
    return bytes(data)


async def _unknown(_: Request, error: Exception) -> Response:
    """Refuse what has no route: another address, or another method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _said(status, REASONS.get(status, "This cannot be answered."))


def _said(status: int, sentence: str) -> Response:
    """Refuse a request with a sentence, and close the connection, so that no more of the request is read."""
    headers = HEADERS | {"Content-Security-Policy": NO_CONTENT, "Connection": "close"}
    return PlainTextResponse(sentence, status, headers)
