"""One HTML file that opens without a network: style, tables and pictures inside it, for a desk and a phone, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

DASH = "\u2013"

_CSS = """
:root{color-scheme:light dark;--ground:#f7f8fa;--card:#fff;--ink:#101828;--soft:#475467;--line:#e4e7ec}
@media(prefers-color-scheme:dark){:root{--ground:#0f1319;--card:#1a2029;--ink:#e6e9ee;--soft:#a3adbb;--line:#303846}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1050px;padding:1rem;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{margin:.5rem 0 0;font-size:1.6rem}h2{margin:2rem 0 .25rem;font-size:1.15rem}
p{margin:0 0 .75rem;color:var(--soft);max-width:75ch;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;margin:1rem 0}
dl div,.sheet,table{background:var(--card);border:1px solid var(--line);border-radius:8px}
dl div{padding:.6rem .8rem}dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-size:1.35rem;font-weight:600}
dd small{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
.sheet{overflow-x:auto;background:#fff;padding:.5rem}.sheet img{display:block;width:100%;height:auto;min-width:680px}
.wide{overflow-x:auto;margin:0 0 1rem}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.9rem}
th,td{padding:.3rem .7rem;text-align:left;vertical-align:top;border-top:1px solid var(--line)}.facts td{overflow-wrap:anywhere}
@media(max-width:600px){th,td{padding:.3rem .4rem}}
thead th,tbody:first-child tr:first-child>*{border-top:0}th{font-weight:500}tbody th{color:var(--soft)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:0 1.5rem;align-items:start}
"""


def document(title: str, body: Iterable[str]) -> str:
    """Return a whole page; `body` is HTML, its heading included."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title><style>{_CSS}</style>'
    return "\n".join([f'<!doctype html><html lang="en"><head>{head}</head><body>', *body, "</body></html>\n"])


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return figures to see at a glance: name, value and a note each."""
    return (
        "<dl>" + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>" for name, value, note in figures) + "</dl>"
    )


def picture(title: str, hint: str, png: bytes, width_px: int) -> str:
    """Return a section with a picture, `width_px` wide where there is room, and what to look for in it."""
    data = base64.b64encode(png).decode("ascii")
    # A phone scrolls a picture sideways rather than shrink its text away; the keyboard can, too.
    image = f'<img src="data:image/png;base64,{data}" width="{width_px}" alt="{escape(title)}">'
    sheet = f'<div class="sheet" tabindex="0" role="region" aria-label="{escape(title)}">{image}</div>'
    return f"<section><h2>{escape(title)}</h2><p>{escape(hint)}</p>{sheet}</section>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column names the row."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>" for name, *rest in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"


def facts(found: Mapping[str, Any]) -> str:
    """Return a table of names and values; mappings within are flattened."""
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in _flat(found))
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _flat(found: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in found.items():
        name = f"{above} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif isinstance(value, (list, tuple)):
            yield name, "; ".join(", ".join(f"{v}" for _, v in _flat(item)) if isinstance(item, Mapping) else str(item) for item in value)
        else:
            yield name, DASH if value is None else str(value)
