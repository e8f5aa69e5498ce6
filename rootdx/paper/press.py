"""Sheets as PDF/A-3b, with the file that they carry; and as pictures of their pages.

* Only our own font is used, and it is embedded; no font, package or file of the machine is looked at.
* A letter that the font does not have is printed as its Unicode number, `[U+6F22]`; the attached file has it as it was.
* Text reaches the template as data. Nothing that people typed is ever read as markup.
* Every call is on its own, so that threads may print at the same time.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import typst
from matplotlib.ft2font import FT2Font

from rootdx.paper.sheet import Sheet
from rootdx.texts import say_in

FOLDER: Final = Path(__file__).parent
FONTS: Final = FOLDER / "fonts"
FAMILY: Final = "Pretendard"
STANDARD: Final = "a-3b"
"""PDF/A-3: to be kept for decades, and it may carry the file that it was made of."""
_WORDS: Final = {"nothing": "table.empty", "appendix": "paper.appendix"}
_INSTEAD: Final = str.maketrans({"✖": "✗", "✘": "✗", "✔": "✓", "\t": " "})


def pdf(sheet: Sheet) -> bytes:
    """The sheet as a PDF/A-3b; takes a second or so of one core."""
    (made,) = _pressed(sheet, "pdf")
    return made


def png(sheet: Sheet, ppi: float = 100.0) -> list[bytes]:
    """The pages of the sheet as pictures."""
    return _pressed(sheet, "png", ppi)


def _pressed(sheet: Sheet, form: Literal["pdf", "png"], ppi: float | None = None) -> list[bytes]:
    said = json.dumps(_printable(json.loads(sheet.to_json())), ensure_ascii=False)
    words = json.dumps({name: say_in(sheet.language, key) for name, key in _WORDS.items()}, ensure_ascii=False)
    made = typst.compile(
        FOLDER / "sheet.typ",
        root=FOLDER,
        font_paths=[FONTS],
        ignore_system_fonts=True,
        format=form,
        ppi=ppi,
        sys_inputs={"sheet": said, "words": words},
        pdf_standards=[STANDARD] if form == "pdf" else [],
        timestamp=datetime.now(UTC).replace(microsecond=0),
    )
    return list(made) if isinstance(made, list) else [made]


def _printable(value: object, name: str = "") -> object:
    """The same with letters that the font has; drawings and the attached file stay as they are."""
    if isinstance(value, str):
        return value if name in ("svg", "attached", "kind", "tone", "language") else printable(value)
    if isinstance(value, dict):
        return {key: _printable(one, "attached" if name == "attached" else key) for key, one in value.items()}
    return [_printable(one, name) for one in value] if isinstance(value, list) else value


def printable(text: str) -> str:
    """A text in letters that the font has.

    >>> printable("漢 A ✖")
    '[U+6F22] A ✗'
    """
    known = letters()
    return "".join(
        one if one == "\n" or ord(one) in known else f"[U+{ord(one):04X}]" for one in text.translate(_INSTEAD)
    )


@lru_cache(maxsize=1)
def letters() -> frozenset[int]:
    """What the font can print."""
    files: Sequence[Path] = sorted(FONTS.glob("*.otf"))
    return frozenset.intersection(*(frozenset(FT2Font(str(file)).get_charmap()) for file in files))
