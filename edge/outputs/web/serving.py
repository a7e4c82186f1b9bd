"""What serves pages here: uvicorn, with a guard before the page that lets in whom `Access` lets in, and gives to none more than is left for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge.outputs.web.access import HEADERS, MOST_HEADERS, REALM, Access
from edge.outputs.web.admission import BUSY, IDLE, NEW, Budget, Places, Refusals
from edge.outputs.web.door import BACKLOG, Door
from edge.outputs.web.wire import Limits

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_WATCH_S = 0.2

Scope = Any
Send = Callable[[Any], Awaitable[None]]


class Guarded:
    """A page behind its guard (ASGI).

    Attributes:
        refusals: of requests, by their address.
    """

    def __init__(self, app: Any, access: Access, limits: Limits, tell: Callable[[str], Awaitable[None]]) -> None:
        """Guard `app`; its faults are told by `tell`."""
        self._app, self._access, self._tell = app, access, tell
        self.refusals, self._budget = Refusals(limits.refusals), Budget(limits.bytes_a_second)

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer a request (ASGI)."""
        from starlette.responses import PlainTextResponse

        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = True
            wait_s = self._budget.wait_s(len(message.get("body", b"")), time.monotonic())
            if wait_s:
                await asyncio.sleep(wait_s)
            await send(message)

        status = self._access.refusal(scope["headers"])
        answer: Any = self._app
        if status:
            self.refusals.note(scope["client"][0] if scope["client"] else "", time.monotonic())
        if status == 401:
            answer = PlainTextResponse("wanted the token of --web-token-file\n", 401, {"www-authenticate": REALM.decode(), "connection": "close"})
        elif status:
            answer = PlainTextResponse("wanted a request by a name of loopback, of fair size\n", status, {"connection": "close"})
        try:
            await answer(scope, receive, sending)
        except Exception as error:  # a fault of ours ends this answer, never the page
            await self._tell(f"{scope['path'][:100]}: {type(error).__name__}: {error}")
            if not started:
                await PlainTextResponse("the page failed\n", 500)(scope, receive, send)


def seated(places: Places) -> Any:
    """Return uvicorn's protocol for connections that have a place; others are closed before anything is read."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Seated(H11Protocol):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            peer = transport.get_extra_info("peername")
            if places.take(self, peer[0] if peer else ""):
                super().connection_made(transport)
            else:
                transport.abort()

        def data_received(self, data: bytes) -> None:
            places.speak(self)
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            places.free(self)
            if self.flow is not None:  # it had a place
                super().connection_lost(exc)

    return Seated


async def watch(server: uvicorn.Server, limits: Limits) -> None:
    """Cut off who holds a connection and asks nothing, or takes nothing of an answer."""
    since: dict[Any, tuple[int, float]] = {}
    while True:
        now, looked, since = time.monotonic(), since, {}
        for connection in list(server.server_state.connections):
            left = untaken(connection)
            if left is None:
                continue
            before, began = looked.get(connection, (left, now))
            since[connection] = left, began if before == left else now
            patience_s = limits.silent_s if connection.cycle is None else limits.idle_s
            if before == left and now - began >= patience_s:
                connection.transport.abort()
        await asyncio.sleep(_WATCH_S)


def untaken(connection: Any) -> int | None:
    """Return how many bytes a client has yet to take of an answer that waits for it, -1 if it asks for nothing; None while it is being answered."""
    if connection.flow.write_paused:
        return int(connection.transport.get_write_buffer_size())
    return -1 if connection.cycle is None or connection.cycle.response_complete else None


def worth(connection: Any) -> int:
    """Return what a connection's place is worth, as `Places` wants it."""
    if connection.cycle is None:
        return NEW
    return IDLE if untaken(connection) == -1 else BUSY


async def serve_guarded(listening: Door, site: Guarded, limits: Limits, ends: Callable[[], bool] = lambda: False) -> None:
    """Serve until `ends` says so."""
    import uvicorn

    def admits(address: str) -> bool:
        now_s = time.monotonic()
        return site.refusals.answered(address, now_s) and places.admits(address, now_s)

    class Server(uvicorn.Server):  # type: ignore[misc]
        @contextmanager
        def capture_signals(self) -> Iterator[None]:  # they are heeded elsewhere
            yield

    places = Places(limits.connections, worth, lambda connection: connection.transport.abort())
    listening.admits = admits
    config = uvicorn.Config(
        site,
        http=seated(places),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        headers=list(HEADERS),
        backlog=BACKLOG,
        h11_max_incomplete_event_size=MOST_HEADERS,
    )
    server = Server(config)

    async def end() -> None:
        while not ends():
            await asyncio.sleep(_WATCH_S)
        server.should_exit = server.force_exit = True

    watching, ending = (asyncio.ensure_future(each) for each in (watch(server, limits), end()))
    try:
        await server.serve(sockets=[listening])
    finally:
        watching.cancel()
        ending.cancel()


def answer_with(file: Traversable) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers with a file of a page, which is read once: no request names a path of the system."""
    data = file.read_bytes()

    async def answer(request: Request) -> Response:
        from starlette.responses import Response

        return Response(data, media_type=_TYPES[file.name.rpartition(".")[2]])

    return answer
