"""HTML and SVG that what they show cannot break: text that is not markup already is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_SPACES = "\n\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}"
Attribute = str | float | None


class Markup(str):
    """Text that is markup already, made by this module alone."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: Attribute) -> Markup:
    """Return one element, well formed as HTML and as XML.

    Children that are no Markup are escaped, and so are attributes; one that is None is left out. In their names a
    trailing underscore is dropped (``class_``), and others become hyphens (``stroke_width``).
    """
    words = [name, *(_attribute(key, value) for key, value in attributes.items() if value is not None)]
    if not children and name in _EMPTY:
        return Markup(f"<{' '.join(words)}/>")
    return Markup(f"<{' '.join(words)}>{joined(children)}</{name}>")


def verbatim(name: str, text: str, **attributes: Attribute) -> Markup:
    """Return a ``style`` or ``script``, whose text is not escaped; raise ValueError for text that would end it."""
    if "</" in text or "<!--" in text:
        raise ValueError(f"text inside a {name} element holds '</' or '<!--', which would end it")
    words = " ".join([name, *(_attribute(key, value) for key, value in attributes.items() if value is not None)])
    return Markup(f"<{words}>{text}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Markup:
    """Return parts one after the other, each escaped unless it is Markup."""
    return Markup(text_of(between).join(text_of(part) for part in parts))


def text_of(text: str) -> Markup:
    """Return text as markup; control characters are spelt out, and so is whatever turns the direction of writing."""
    return text if isinstance(text, Markup) else Markup(escape(_spelt(text), quote=True))


def compact(value: float) -> str:
    """Return a coordinate: two digits after the point at most, the shortest text."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


_EMPTY = frozenset(
    ("br", "circle", "col", "ellipse", "hr", "img", "input", "line", "link", "meta", "path", "rect", "wbr")
)


def _attribute(key: str, value: str | float) -> str:
    text = value if isinstance(value, str) else compact(value)
    return f'{key.removesuffix("_").replace("_", "-")}="{text_of(text)}"'


def _spelt(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _SPACES else c.encode("unicode_escape").decode() for c in text)
