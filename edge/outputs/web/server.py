"""The page's server, a process of its own. What it shows it asks of the run, over a pair of sockets.

    python -m edge.outputs.web.server LISTENING LINK       two descriptors that it inherits

It ends when the run does. It gives way to the loop: its priority is low.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from edge.outputs.web.access import Access
from edge.outputs.web.door import Door
from edge.outputs.web.film import Film, Picture
from edge.outputs.web.serving import Guarded, answer_with, serve_guarded
from edge.outputs.web.wire import LONGEST_LINE, Limits, packed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FILES = {"": "page.html", **{name: name for name in ("page.css", "page.js", "plots.js", "drawing.js", "map.js", "icon.svg")}}
_JSON = "application/json"
_MULTIPART = "multipart/x-mixed-replace; boundary=picture"
_NICE = 10
_LOOK_S = 0.05
_DIGITS = 16


class Link(asyncio.StreamReaderProtocol):
    """Ends this process as soon as the run has gone: clients are cut off, nothing is to be finished."""

    def eof_received(self) -> bool:
        """End."""
        os._exit(0)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        os._exit(0)


class Run:
    """The run, which answers one question at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask over a connection."""
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()
        self._answers: asyncio.Queue[tuple[dict[str, Any], bytes]] = asyncio.Queue()
        self.farewell = b""
        """What the run said when it ended, as JSON."""
        self.ended = asyncio.Event()

    async def hear(self) -> tuple[dict[str, Any], bytes]:
        """Return what the run says."""
        head = json.loads(await self._reader.readuntil(b"\n"))
        return head, await self._reader.readexactly(head["size"])

    async def listen(self) -> None:
        """Take answers until the run ends."""
        while True:
            head, body = await self.hear()
            if head.get("ended"):
                self.farewell = body
                self.ended.set()
            else:
                self._answers.put_nowait((head, body))

    async def ask(self, what: str, **about: Any) -> tuple[dict[str, Any], bytes]:
        """Ask, and return the answer.

        Raises:
            RuntimeError: the run could not answer; it has told why.
        """
        # A client that leaves does not take the answer's place in the queue with it.
        head, body = await asyncio.shield(asyncio.ensure_future(self._exchange(packed({"ask": what, **about}))))
        if head.get("failed"):
            raise RuntimeError(f"no answer for {what}")
        return head, body

    async def _exchange(self, question: bytes) -> tuple[dict[str, Any], bytes]:
        async with self._turn:
            self._writer.write(question)
            return await self._answers.get()


class Site:
    """What is answered to whom."""

    def __init__(self, run: Run, limits: Limits) -> None:
        """Show what `run` tells."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        self._run, self._limits = run, limits
        self.films = {plain: Film(partial(self._newest, plain), limits.wait_s) for plain in (False, True)}
        self._viewers = 0
        routes = [Route(f"/{path}", answer_with(files("edge.outputs.web") / "page" / name)) for path, name in _FILES.items()]
        routes += [
            Route("/healthz", self._health),
            Route("/metrics", self._tell_metrics),
            Route("/api/status", self._tell_status),
            Route("/api/sightings", self._tell_sightings),
            Route("/api/end", self._end),
            Route("/events.jsonl", self._tell_events),
            Route("/crops/{name}.jpg", partial(self._kept, "crop")),
            Route("/frames/{name}.jpg", partial(self._kept, "frame")),
            Route("/faces/{name}.png", partial(self._kept, "face")),
            Route("/live.jpg", self._picture),
            Route("/live.mjpg", self._pictures),
        ]
        self.app = Starlette(routes=routes)
        self.app.router.redirect_slashes = False  # it would send clients to wherever their Host header says

    async def tell_fault(self, text: str) -> None:
        """Have the run tell of a fault of the page's."""
        await self._run.ask("fault", text=text)

    async def _newest(self, plain: bool, after: int) -> tuple[Picture, float]:
        try:
            head, data = await self._run.ask("picture", plain=plain, after=after)
        except RuntimeError:  # it could not be drawn, the next one may be
            return Picture(after, b""), self._limits.wait_s
        return Picture(head["number"], data, head["drawing"]), head["pause_s"]

    async def _end(self, request: Request) -> Response:
        """Answer when the run ends; who has seen that asks once more, when the last of it is taken."""
        from starlette.responses import Response

        if "taken" in request.query_params:
            self._viewers -= 1
            return Response(status_code=204)
        self._viewers += 1
        try:
            await asyncio.wait_for(self._run.ended.wait(), self._limits.wait_s)
        except asyncio.TimeoutError:
            self._viewers -= 1
            return Response(status_code=204)
        return Response(self._run.farewell, media_type=_JSON)

    async def leave(self) -> None:
        """End this process when the run has ended, and those who look at the page know."""
        await self._run.ended.wait()
        end_s = time.monotonic() + json.loads(self._run.farewell)["look_s"]
        while self._viewers > 0 and time.monotonic() < end_s:
            await asyncio.sleep(_LOOK_S)
        os._exit(0)

    async def _health(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse, Response

        trouble = (await self._run.ask("health"))[1]
        return Response(trouble + b"\n", 503, media_type="text/plain") if trouble else PlainTextResponse("ok\n")

    async def _tell_metrics(self, request: Request) -> Response:
        from starlette.responses import Response

        head, text = await self._run.ask("metrics")
        return Response(text, headers={"content-type": head["kind"]})

    async def _tell_status(self, request: Request) -> Response:
        from starlette.responses import Response

        since_s = _number(request, "since")
        return _bad("since") if since_s is None else Response((await self._run.ask("status", since=since_s))[1], media_type=_JSON)

    async def _tell_sightings(self, request: Request) -> Response:
        from starlette.responses import Response

        after, changed = _number(request, "after"), _number(request, "changed")
        if after is None or changed is None:
            return _bad("after and changed")
        return Response((await self._run.ask("sightings", after=int(after), changed=int(changed)))[1], media_type=_JSON)

    async def _tell_events(self, request: Request) -> Response:
        from starlette.responses import Response

        after = _number(request, "after")
        if after is None:
            return _bad("after")
        head, lines = await self._run.ask("events", after=int(after))
        return Response(lines, media_type="application/jsonl", headers={"x-events": str(head["told"])})

    async def _kept(self, what: str, request: Request) -> Response:
        from starlette.responses import PlainTextResponse, Response

        name = request.path_params["name"]
        data = (await self._run.ask(what, number=int(name)))[1] if name.isascii() and name.isdigit() and len(name) < _DIGITS else b""
        return Response(data, media_type="image/png" if what == "face" else "image/jpeg") if data else PlainTextResponse("not kept\n", 404)

    async def _picture(self, request: Request) -> Response:
        from starlette.responses import Response

        after = _number(request, "after")
        if after is None:
            return _bad("after")
        picture = await self.films["plain" in request.query_params].next(int(after))
        if picture is None:
            return Response(status_code=204)
        headers = {"x-picture": str(picture.number)} | ({"x-drawing": picture.drawing} if picture.drawing else {})
        return Response(picture.jpeg, media_type="image/jpeg", headers=headers)

    async def _pictures(self, request: Request) -> Response:
        from starlette.responses import Response, StreamingResponse

        async def parts() -> AsyncIterator[bytes]:
            number = 0
            while True:
                picture = await self.films[False].next(number)
                if picture is not None:
                    number, data = picture.number, picture.jpeg
                    yield b"--picture\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n%b\r\n" % (len(data), data)

        if request.method == "HEAD":  # it has no body that could end
            return Response(media_type=_MULTIPART)
        return StreamingResponse(parts(), media_type=_MULTIPART)


async def serve(listening: Door, link: socket.socket) -> None:
    """Serve until the run has gone."""
    reader = asyncio.StreamReader(LONGEST_LINE)
    transport, protocol = await asyncio.get_running_loop().create_connection(lambda: Link(reader), sock=link)
    run = Run(reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop()))
    told, _ = await run.hear()
    limits = Limits(**told["limits"])
    site = Site(run, limits)
    guarded = Guarded(site.app, Access.of(told["host"], told["digest"]), limits, site.tell_fault)
    await asyncio.gather(serve_guarded(listening, guarded, limits), run.listen(), site.leave(), *(film.run() for film in site.films.values()))


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


def main() -> None:
    """Serve on the descriptors that the command line names."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are meant for the run, which ends this process with it
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # a service may be forbidden to change them
        os.nice(_NICE)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listening, link = Door(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2]))
    listening.setblocking(False)
    asyncio.run(serve(listening, link))


if __name__ == "__main__":
    main()
