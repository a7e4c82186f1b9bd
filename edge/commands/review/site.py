"""Answers the review's page. Whoever may read it may judge; a page from elsewhere, in the same browser, may not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from edge.commands.review.items import Item, Named, View
from edge.commands.review.judged import Judged
from edge.errors import SignwingError
from edge.outputs.web.serving import answer_with

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FILES = {"": "review.html", "review.css": "review.css", "review.js": "review.js"}
_SHARED = ("page.css", "drawing.js", "icon.svg")
"""Files of the live page that this one uses as they are."""
_KINDS = {"jpg": "image/jpeg", "png": "image/png"}
_MOST_ASKED = 4096


class ReviewSite:
    """The page, and what it asks.

    Attributes:
        app: answers (ASGI).
        ended: somebody said on the page that the review is over.
    """

    def __init__(self, items: Mapping[str, Item], judged: Judged, next_step: str) -> None:
        """Show `items`, keep verdicts in `judged`; `next_step` is what to type when all is judged."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        self._items, self._judged, self._next_step = items, judged, next_step
        self.ended = False
        here = files("edge.commands.review") / "page"
        routes = [Route(f"/{path}", answer_with(here / name)) for path, name in _FILES.items()]
        routes += [Route(f"/{name}", answer_with(files("edge.outputs.web") / "page" / name)) for name in _SHARED]
        routes += [
            Route("/api/items", self._tell),
            Route("/api/judge", self._judge, methods=["POST"]),
            Route("/api/undo", self._undo, methods=["POST"]),
            Route("/api/end", self._end, methods=["POST"]),
            Route("/views/{name}/{number}.{kind}", self._view),
        ]
        self.app = Starlette(routes=routes)
        self.app.router.redirect_slashes = False

    async def _tell(self, request: Request) -> Response:
        labels = dict.fromkeys(label for item in self._items.values() for label in item.labels) | dict.fromkeys(sorted(self._judged.labels))
        items = [_told(item, self._judged[name]) for name, item in self._items.items()]
        return _json({"schema": 1, "labels": list(labels), "items": items, "next": self._next_step})

    async def _judge(self, request: Request) -> Response:
        asked = await _asked(request)
        if not (isinstance(asked, dict) and isinstance(asked.get("name"), str) and isinstance(asked.get("label"), str)):
            return _refused("wanted name and label")
        try:
            self._judged.judge(asked["name"], asked["label"])
        except SignwingError as error:
            return _refused(str(error))
        return self._done()

    async def _undo(self, request: Request) -> Response:
        if await _asked(request) is None:
            return _refused("wanted a request of the page's own")
        try:
            return self._done(name=self._judged.undo())
        except SignwingError as error:
            return _refused(str(error))

    async def _end(self, request: Request) -> Response:
        if await _asked(request) is None:
            return _refused("wanted a request of the page's own")
        self.ended = True
        return self._done()

    async def _view(self, request: Request) -> Response:
        from starlette.responses import FileResponse, PlainTextResponse

        asked = request.path_params
        item, number, kind = self._items.get(asked["name"]), asked["number"], asked["kind"]
        if item is None or kind not in _KINDS or not (number.isascii() and number.isdecimal() and 1 <= int(number) <= len(item.views)):
            return PlainTextResponse("not kept\n", 404)
        view = item.views[int(number) - 1]
        path = view.picture if kind == "jpg" else view.crop
        return FileResponse(path, media_type=_KINDS[kind]) if path.is_file() else PlainTextResponse("not kept any more\n", 404)

    def _done(self, **more: Any) -> Response:
        return _json({**dict(zip(("signs", "none", "mixed"), self._judged.counts(), strict=True)), **more})


def _told(item: Item, label: str | None) -> dict[str, Any]:
    return {
        "name": item.name,
        "telling": item.telling,
        "why": item.why,
        "votes": [[name, count, round(100 * sure)] for name, count, sure in item.votes],
        "views": [_view_told(view) for view in item.views],
        "label": label,
    }


def _view_told(view: View) -> dict[str, Any]:
    return {"size_wh": view.size_wh, "named": _named(view.named), "others": [_named(other) for other in view.others], **view.told}


def _named(named: Named) -> list[Any]:
    """Return a label, percent, and corners, as the page's drawing wants them."""
    (x1, y1, x2, y2), label, confidence = named
    return [label, round(100 * confidence), [x1, y1, x2, y1, x2, y2, x1, y2]]


async def _asked(request: Request) -> Any:
    """Return the JSON that a page of this server's own sent; None where another page may have, or what came is none.

    Browsers let another page send a form or plain text, but no JSON, before this server has agreed, which it never does; and they say whose page it is.
    """
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_ASKED:
            return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _json(told: dict[str, Any]) -> Response:
    from starlette.responses import Response

    return Response(json.dumps(told, separators=(",", ":")), media_type="application/json")


def _refused(why: str) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(f"{why}\n", 400)
