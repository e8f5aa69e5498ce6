"""Sheets as one HTML page that needs nothing from elsewhere: no script, no address; our font is inside."""

import base64
import html
import io
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from typing import Final

from fontTools import subset  # type: ignore[import-untyped]

from rootdx.paper.sheet import Block, Facts, Grid, Picture, Said, Sheet
from rootdx.texts import say_in

STYLE: Final = """
body{font:15px/1.5 Pretendard,system-ui,'Malgun Gothic','Apple SD Gothic Neo',sans-serif;max-width:62em;
margin:2em auto;padding:0 1em;color:#1c2430}
header{display:flex;justify-content:space-between;gap:2em;align-items:center;border-bottom:2px solid}
h1{font-size:1.6em;margin:0}h2{font-size:1.1em;margin:1.8em 0 .4em}.faint,.notes{color:#5c6773}.notes{font-size:.85em}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #c9d1da;padding:.25em .6em;text-align:left;vertical-align:top}
th{border-bottom:2px solid #1c2430}.n{text-align:right;font-variant-numeric:tabular-nums}.small{font-size:.82em}
.facts td:first-child{color:#5c6773;width:14em}.facts td{border:0}
.stamp{font-size:1.7em;font-weight:bold;border:3px solid;border-radius:6px;padding:.3em .8em;white-space:nowrap}
.good{color:#0a6b2b}.warn{color:#8a4b00}.bad{color:#b00020}.good,.warn,.bad{font-weight:bold}
td.warn{background:#fdf0dc}td.bad{background:#fde7ea}
.alarm{background:#b00020;color:#fff;padding:1em 1.5em;border-radius:6px;margin-bottom:1.5em}
.alarm p{margin:.3em 0}.alarm p:first-child{font-size:1.7em;font-weight:bold}
code{word-break:break-all;background:#f1f4f7;padding:.1em .3em}svg{width:100%;height:auto}
.appendix{margin-top:2em}
@media print{.appendix{break-before:page}
body{margin:0;max-width:none;font-size:11px}h2{break-after:avoid}figure,tr{break-inside:avoid}}
"""
_FONTS: Final = "/*fonts*/"
_SENTENCE: Final = re.compile(r"[a-z]+(?:[ ,;:]|$)")
_ADDRESS: Final = re.compile(r'\s+xmlns(?::\w+)?="[^"]*"')


def html_of(sheet: Sheet) -> str:
    """The sheet as a page."""
    page = _page(sheet)
    return page.replace(_FONTS, _faces(frozenset(page)), 1)


def _page(sheet: Sheet) -> str:
    title = html.escape(_capital(sheet.title))
    parts = [
        f'<!doctype html><html lang="{html.escape(sheet.language)}"><head><meta charset="utf-8">',
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>',
        f"<style>{_FONTS}{STYLE}</style></head><body>",
    ]
    if sheet.alarms:
        lines = "".join(f"<p>{html.escape(one)}</p>" for one in sheet.alarms)
        parts.append(f'<div class="alarm" role="alert">{lines}</div>')
    parts.append(f'<header><div><h1>{title}</h1><p class="faint">{html.escape(sheet.subject)}</p></div>')
    if sheet.stamp is not None:
        parts.append(f'<p class="stamp {sheet.stamp.tone}">{html.escape(sheet.stamp.text)}</p>')
    parts.append("</header>")
    for block in sheet.blocks:
        parts += _block(block, sheet.language)
    if sheet.appendix:
        parts.append(f'<h1 class="appendix">{html.escape(say_in(sheet.language, "paper.appendix"))}</h1>')
    for block in sheet.appendix:
        parts += _block(block, sheet.language)
    parts.append(f'<footer class="notes"><hr>{html.escape(sheet.running)}</footer></body></html>\n')
    return "\n".join(parts)


def _faces(letters: frozenset[str]) -> str:
    """Our font with the letters of a page and no others, inside of it: a browser may have none for Hangul."""
    return "".join(
        f"@font-face{{font-family:Pretendard;font-weight:{weight};"
        f"src:url(data:font/woff;base64,{base64.b64encode(_subset(name, letters)).decode()}) format('woff')}}"
        for name, weight in (("Regular", 400), ("Bold", 700))
    )


@lru_cache(maxsize=8)
def _subset(name: str, letters: frozenset[str]) -> bytes:
    options = subset.Options(flavor="woff", layout_features=["kern", "tnum"], desubroutinize=True)
    content = resources.files("rootdx.paper").joinpath(f"fonts/Pretendard-{name}.otf").read_bytes()
    font = subset.load_font(io.BytesIO(content), options, lazy=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[ord(letter) for letter in letters])
    subsetter.subset(font)
    out = io.BytesIO()
    subset.save_font(font, out, options)
    return out.getvalue()


def _block(block: Block, language: str) -> Iterator[str]:
    if block.title:
        yield f"<h2>{html.escape(_capital(block.title))}</h2>"
    if isinstance(block, Facts):
        rows = "".join(
            f"<tr><td>{html.escape(_capital(name))}</td><td>{_said(said)}</td></tr>" for name, said in block.pairs
        )
        yield f'<div class="facts"><table>{rows}</table></div>'
    elif isinstance(block, Grid):
        yield from _grid(block, language)
    elif isinstance(block, Picture):
        yield f'<figure role="img" aria-label="{html.escape(block.alt)}">{_drawing(block.svg)}</figure>'
        yield _notes(block.notes)
    else:
        yield from (f"<p>{_said(one)}</p>" for one in block.lines)


def _grid(grid: Grid, language: str) -> Iterator[str]:
    if not grid.rows:
        yield f'<p class="faint">{html.escape(say_in(language, "table.empty"))}</p>'
    else:
        yield f'<div class="scroll{" small" if grid.small else ""}"><table>'
        yield (
            "<tr>"
            + "".join(f"<th{_class(one.number)}>{html.escape(_capital(one.text))}</th>" for one in grid.heads)
            + "</tr>"
        )
        for row in grid.rows:
            cells = zip(row, grid.heads, strict=True)
            yield "<tr>" + "".join(f"<td{_class(head.number, one)}>{_inner(one)}</td>" for one, head in cells) + "</tr>"
        yield "</table></div>"
    yield _notes(grid.notes)


def _class(number: bool, one: Said | None = None) -> str:  # noqa: FBT001  # a heading's, for its cells
    tone = one.tone if one is not None and one.tone != "code" else ""
    names = " ".join(name for name in ("n" if number else "", tone) if name)
    return f' class="{names}"' if names else ""


def _said(one: Said) -> str:
    if one.tone in ("", "code"):
        return _inner(one)
    return f'<span class="{one.tone}">{_inner(one)}</span>'


def _inner(one: Said) -> str:
    return f"<code>{html.escape(one.text)}</code>" if one.tone == "code" else html.escape(one.text)


def _notes(lines: object) -> str:
    return (
        "".join(f'<p class="notes">{html.escape(str(one))}</p>' for one in lines)
        if isinstance(lines, (list, tuple))
        else ""
    )


def _capital(text: str) -> str:
    """A sentence begins large; a name of the trade, as v_fast or dc1, stays as it is."""
    return text[:1].upper() + text[1:] if _SENTENCE.match(text) else text


def _drawing(svg: str) -> str:
    """A drawing inside a page: without the head of a file of its own, whose addresses a page does not need."""
    return _ADDRESS.sub("", svg[svg.index("<svg") :])
