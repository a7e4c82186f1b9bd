"""The page, in a thread of its own: the one file that imports Starlette and uvicorn. The loop leaves results and never waits for a client."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edge.board.extras import install
from edge.errors import MissingDependency, OutputError, one_line
from edge.frame import FeedState
from edge.outputs.web.access import HEADERS, MOST_HEADERS, REALM, Access
from edge.outputs.web.film import FEW_A_SECOND, PICTURES_A_SECOND, Film
from edge.outputs.web.metrics import Metrics
from edge.outputs.web.state import PageState, jpeg
from edge.result import Result

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_LOG = logging.getLogger(__name__)

MOST_CONNECTIONS = 200

_FILES = {"": "page.html", **{name: name for name in ("page.css", "page.js", "plots.js", "icon.svg")}}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_SEND_BUFFER = 128 << 10
_IDLE_S, _WATCH_S = 15.0, 0.2
_END_S = 10.0
_DIGITS = 16

Scope = Any
Send = Callable[[Any], Awaitable[None]]


class WebSink:
    """Serves the page while it is open.

    Attributes:
        state: what the page shows.
    """

    def __init__(self, host: str, port: int, access: Access, state: PageState, metrics: Metrics) -> None:
        """Listen on `host` and `port`; 0 takes any that is free.

        Raises:
            MissingDependency: Starlette or uvicorn is not installed.
        """
        try:
            import starlette  # noqa: F401
            import uvicorn  # noqa: F401
        except ImportError as error:
            raise MissingDependency(f"wanted starlette and uvicorn for --web, found none: {install('web')}") from error
        self._host, self._port, self._access = host, port, access
        self.state, self._metrics = state, metrics
        self._film = Film(state)
        self._server: uvicorn.Server | None = None
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._work, name="web", daemon=True)

    def __enter__(self) -> WebSink:
        """Start to listen.

        Raises:
            OutputError: the address cannot be had.
        """
        import uvicorn

        self._socket = _listen(self._host, self._port)
        config = uvicorn.Config(
            self._guarded(self._app()),
            http="h11",
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=list(HEADERS),
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=MOST_HEADERS,
            timeout_graceful_shutdown=1,
        )
        # What strangers send is no business of the console's; our own faults are told by `_guarded`.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        self._server = uvicorn.Server(config)
        self._thread.start()
        print(f"{'page':<14}{self.url}", flush=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread.ident is None or self._server is None:
            return
        self._server.should_exit = True
        self._thread.join(_END_S)
        if self._thread.is_alive():
            _LOG.warning("the page's server at %s does not end: it is left behind", self.url)

    @property
    def url(self) -> str:
        """Where the page is."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._socket.getsockname()[1] if self._socket else self._port}/"

    def write(self, result: Result) -> None:
        """Leave a result; never waits."""
        self.state.note(result)

    def feed(self, state: FeedState) -> None:
        """Nothing: the page asks the source itself."""

    def spare(self, on: bool) -> None:
        """Give few pictures from now on, or as many as before."""
        self._film.pictures_a_second = FEW_A_SECOND if on else PICTURES_A_SECOND

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # the run goes on without its page
            _LOG.warning("the page's server ended: %s", one_line(error))

    async def _serve(self) -> None:
        assert self._server is not None
        assert self._socket is not None
        watch, film = asyncio.create_task(self._watch()), asyncio.create_task(self._film.run())
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            for task in (watch, film):
                task.cancel()
            await asyncio.gather(watch, film, return_exceptions=True)
            self._film.close()

    async def _watch(self) -> None:
        """Cut off who holds a connection and asks nothing, or takes nothing of an answer, and at the end who still looks."""
        assert self._server is not None
        since: dict[Any, tuple[int, float]] = {}
        while True:
            now, ending = time.monotonic(), self._server.should_exit
            looked, since = since, {}
            for connection in list(self._server.server_state.connections):
                left = _untaken(connection)
                if left is None:
                    continue
                before, began = looked.get(connection, (left, now))
                since[connection] = left, began if before == left else now
                if before == left and now - began >= _IDLE_S:
                    connection.transport.abort()
            if ending:
                self._film.stop()
                await asyncio.sleep(_WATCH_S)
                for connection in list(self._server.server_state.connections):
                    connection.transport.abort()
                return
            await asyncio.sleep(_WATCH_S)

    def _guarded(self, app: Starlette) -> Callable[..., Awaitable[None]]:
        async def guarded(scope: Scope, receive: Any, send: Send) -> None:
            from starlette.responses import PlainTextResponse

            started = False

            async def sending(message: Any) -> None:
                nonlocal started
                started = True
                await send(message)

            status = self._access.refusal(scope["headers"])
            answer: Any = app
            if status == 401:
                answer = PlainTextResponse("wanted the token of --web-token-file\n", 401, {"www-authenticate": REALM.decode()})
            elif status:
                answer = PlainTextResponse("wanted a request by a name of loopback, of fair size\n", status)
            try:
                await answer(scope, receive, sending)
            except Exception as error:  # a fault of ours ends this answer, never the run
                _LOG.warning("the page failed at %s: %s: %s", scope["path"][:100], type(error).__name__, one_line(error))
                if not started:
                    await PlainTextResponse("the page failed\n", 500)(scope, receive, send)

        return guarded

    def _app(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.routing import Route

        routes = [Route(f"/{path}", _file(name)) for path, name in _FILES.items()]
        routes += [
            Route("/healthz", self._health),
            Route("/metrics", self._tell_metrics),
            Route("/api/status", self._tell_status),
            Route("/api/sightings", self._tell_sightings),
            Route("/crops/{name}.jpg", self._crop),
            Route("/live.jpg", self._picture),
            Route("/live.mjpg", self._pictures),
        ]
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False  # it would send clients to wherever their Host header says
        return app

    async def _health(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse

        trouble = self.state.trouble
        return PlainTextResponse(f"{trouble}\n", 503) if trouble else PlainTextResponse("ok\n")

    async def _tell_metrics(self, request: Request) -> Response:
        from starlette.responses import Response

        text, kind = self._metrics.text()
        return Response(text, headers={"content-type": kind})

    async def _tell_status(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        since_s = _number(request, "since")
        return _bad("since") if since_s is None else JSONResponse(self.state.status(since_s))

    async def _tell_sightings(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        after = _number(request, "after")
        return _bad("after") if after is None else JSONResponse({"schema": 1, "sightings": self.state.sightings(int(after))})

    async def _crop(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse, Response

        name = request.path_params["name"]
        crop = self.state.crop(int(name)) if name.isascii() and name.isdigit() and len(name) < _DIGITS else None
        return PlainTextResponse("not kept\n", 404) if crop is None else Response(jpeg(crop), media_type="image/jpeg")

    async def _picture(self, request: Request) -> Response:
        from starlette.responses import Response

        after = _number(request, "after")
        if after is None:
            return _bad("after")
        picture = await self._film.next(int(after))
        if picture is None:
            return Response(status_code=204)
        return Response(picture[1], media_type="image/jpeg", headers={"x-picture": str(picture[0])})

    async def _pictures(self, request: Request) -> Response:
        from starlette.responses import StreamingResponse

        async def parts() -> AsyncIterator[bytes]:
            number = 0
            while not self._film.stopped:
                picture = await self._film.next(number)
                if picture is not None:
                    number, data = picture
                    yield b"--picture\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n%b\r\n" % (len(data), data)

        return StreamingResponse(parts(), media_type="multipart/x-mixed-replace; boundary=picture")


def _listen(host: str, port: int) -> socket.socket:
    """Bind in the thread of the command, so that an address that is taken is refused before any work is done.

    Raises:
        OutputError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refused(host, port, error) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Clients inherit it: a slow one finds a newer picture sooner, and a hundred hold little.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listening.bind(address)
        listening.listen(MOST_CONNECTIONS)
    except OSError as error:
        listening.close()
        raise _refused(host, port, error) from error
    return listening


def _refused(host: str, port: int, error: OSError) -> OutputError:
    return OutputError(f"wanted to serve the page at {host} port {port}, the system refused: {error.strerror or error}: choose another --web or --web-host")


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers with a file of the page, which is read once: no request names a path of the system."""
    data = (resources.files("edge.outputs.web") / "page" / name).read_bytes()

    async def answer(request: Request) -> Response:
        from starlette.responses import Response

        return Response(data, media_type=_TYPES[name.rpartition(".")[2]])

    return answer


def _number(request: Request, key: str) -> float | None:
    """Return a number of the query, 0 where it is absent; None if it is none, or negative."""
    try:
        value = float(request.query_params.get(key, "0"))
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def _bad(key: str) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(f"wanted {key} as a number from 0 up\n", 400)


def _untaken(connection: Any) -> int | None:
    """Return how many bytes a client has yet to take of an answer that waits for it, -1 if it asks for nothing; None while it is being answered."""
    if connection.flow.write_paused:
        return int(connection.transport.get_write_buffer_size())
    return -1 if connection.cycle is None or connection.cycle.response_complete else None
