"""`signwing review`: serves the page on which a person judges what a run kept, until it is said to be over."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from edge.board.extras import install
from edge.commands.review.items import read_items
from edge.commands.review.judged import FRAMES, Judged
from edge.datasets.classes import REVIEWED
from edge.errors import MissingDependency
from edge.outputs.web.access import Access, read_token
from edge.outputs.web.door import Door, addresses, listen, url_of
from edge.outputs.web.wire import Limits
from edge.process import signals

_LOG = logging.getLogger(__name__)


def review(folder: Path, host: str, port: int, token_file: Path | None) -> None:
    """Open what a run kept on a page, and keep what is said of it; say in the end what to do with it.

    Args:
        folder: that `edge run --keep` or scripts/deploy --collect filled.
        host: to listen on.
        port: 0 takes any that is free.
        token_file: with the token that the page asks for; without one, `host` is loopback.

    Raises:
        MissingDependency: Starlette or uvicorn is not installed.
        InputError: nothing to judge, what was judged before cannot be read, or others could reach the page and there is no token.
        OutputError: verdicts cannot be written, the address cannot be had, or another review of the folder is open.
        KeyboardInterrupt: the user ended it; every verdict is kept.
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise MissingDependency(f"wanted starlette and uvicorn for the page, found none: {install('web')}")
    from edge.commands.review.site import ReviewSite
    from edge.outputs.web.serving import Guarded, serve_guarded

    access, limits = Access(host, None if token_file is None else read_token(token_file)), Limits()
    items = read_items(folder, [folder / REVIEWED, folder / FRAMES])
    next_step = shlex.join(["signwing", "train", "fit", "--add", str(folder), "--out", "runs/more"])
    with Judged(folder, items) as judged, Door(fileno=listen(host, port).detach()) as door:
        door.setblocking(False)
        site = ReviewSite(items, judged, next_step)
        port = door.getsockname()[1]
        left = sum(judged[name] is None for name in items)
        print(f"{left} of {len(items)} to be judged\n{'page':<14}{addresses(host, port)}", flush=True)
        if left and sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin"):
            webbrowser.open(url_of(host, port))
        signals.gently()
        guarded = Guarded(site.app, access, limits, _tell_fault)
        asyncio.run(serve_guarded(door, guarded, limits, lambda: site.ended or signals.came()))
        signs, none, mixed = judged.counts()
    several = f", {mixed} mixed" if mixed else ""
    print(
        f"judged {signs + none + mixed}: {signs} signs, {none} that are none{several}; in {folder / REVIEWED}"
        + (f"\nlearn on with it: {next_step}" if signs + none else "")
    )
    if signals.came():
        raise KeyboardInterrupt


async def _tell_fault(text: str) -> None:
    _LOG.warning("the page failed: %s", text)
