from __future__ import annotations

from xml.etree import ElementTree

import pytest

from skymetal.deploy.report.markup import Markup, compact, element, joined, verbatim


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = element("b", "<&>\"'")
    assert inner == "<b>&lt;&amp;&gt;&quot;&#x27;</b>"
    assert element("p", inner, " & ") == f"<p>{inner} &amp; </p>"
    assert joined(["<", Markup("<br/>")], ", ") == "&lt;, <br/>"


def test_attributes_are_escaped_and_named_as_in_html() -> None:
    found = element("rect", class_="a b", stroke_width=1.0, aria_label='"><script>', hidden=None, viewBox="0 0 1 1")
    assert found == '<rect class="a b" stroke-width="1" aria-label="&quot;&gt;&lt;script&gt;" viewBox="0 0 1 1"/>'


def test_only_elements_without_content_close_themselves() -> None:
    assert element("p") == "<p></p>"
    assert element("br") == "<br/>"


@pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31mb", "a\u202eb", "a\u200bb", "a\ud800b", "a\x7fb", "a\u2066b"])
def test_what_cannot_be_printed_is_spelt_out(text: str) -> None:
    found = element("p", text, title=text)
    found.encode()
    assert "\\" in found
    assert text[1] not in found
    ElementTree.fromstring(found)


def test_spaces_that_are_meant_stay() -> None:
    assert element("p", "1\u202f000\n2\xa0s") == "<p>1\u202f000\n2\xa0s</p>"


def test_a_script_that_would_end_early_is_refused() -> None:
    assert verbatim("script", "a < b && c") == "<script>a < b && c</script>"
    for text in ("'</script>'", "<!-- -->"):
        with pytest.raises(ValueError, match="which would end it"):
            verbatim("script", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.5, "0.5"), (-0.001, "0"), (1.005, "1"), (12.346, "12.35"), (100.0, "100"), (-3.1, "-3.1")],
)
def test_coordinates_are_short(value: float, text: str) -> None:
    assert compact(value) == text
