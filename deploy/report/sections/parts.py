"""What the sections are built of: headings, sentences, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence

from skymetal.deploy.report.markup import Markup, element, joined


def section(anchor: str, title: str, *content: str) -> Markup:
    """Return a section that the table of contents can point to."""
    heading = element("h2", title, id=f"{anchor}-title")
    return element("section", heading, *content, id=anchor, aria_labelledby=f"{anchor}-title")


def prose(text: str) -> Markup:
    """Return text in which what stands between backticks is a name as it is written in files."""
    pieces = text.split("`")
    is_name = [place % 2 == 1 and place < len(pieces) - 1 for place in range(len(pieces))]
    return joined(code(piece) if name else piece for piece, name in zip(pieces, is_name, strict=True))


def paragraph(text: str, *, kind: str | None = None) -> Markup:
    """Return one paragraph of prose."""
    return element("p", prose(text), class_=kind)


def absent(sentence: str) -> Markup:
    """Return the one sentence that stands where there is nothing to show."""
    return paragraph(sentence, kind="absent")


def code(text: str) -> Markup:
    """Return a name as it is written in files."""
    return element("code", text)


def figure(chart: Markup, caption: str = "", *, title: str = "", legend: Markup | None = None) -> Markup:
    """Return a chart with a title and a legend above and a caption below.

    It always has four parts, some of them empty, so that charts side by side stand at one height.
    """
    nothing = element("div")
    heading = element("h3", title) if title else nothing
    words = element("figcaption", prose(caption)) if caption else nothing
    return element("figure", heading, legend or nothing, chart, words)


def figures(*items: Markup, columns: int = 2) -> Markup:
    """Return figures side by side where the page is wide enough, at most so many in a row."""
    return element("div", *items, class_=f"figures of-{columns}")


def wide_figure(item: Markup) -> Markup:
    """Return a figure that stands alone and is large."""
    return element("div", item, class_="figures wide")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, says: str, num_words: int = 1) -> Markup:
    """Return a table: ``num_words`` columns of words to the left, then numbers to the right. The first is a heading."""
    kinds = [None if place < num_words else "number" for place in range(len(header))]
    head = [element("th", name, scope="col", class_=kind) for name, kind in zip(header, kinds, strict=True)]
    body = []
    for first, *rest in rows:
        cells = [element("td", cell, class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True)]
        body.append(element("tr", element("th", first, scope="row"), *cells))
    content = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", content, class_="scroll", role="region", aria_label=says, tabindex="0")


def listing(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Return names and what they are."""
    return element("dl", joined(element("div", element("dt", name), element("dd", what)) for name, what in pairs))


def share_bar(share: float, *, mark: float | None = None, says: str = "") -> Markup:
    """Return a small bar of a share of 1, with a mark where a limit is."""
    parts = [
        element("rect", class_="track", width=100.0, height=8.0),
        element("rect", class_="fill", width=100.0 * min(max(share, 0.0), 1.0), height=8.0),
    ]
    if mark is not None:
        parts.append(element("rect", class_="limit", x=100.0 * mark - 0.6, width=1.2, height=8.0))
    hidden = {"role": "img", "aria_label": says} if says else {"aria_hidden": "true"}
    return element("svg", *parts, class_="share", viewBox="0 0 100 8", preserveAspectRatio="none", **hidden)
