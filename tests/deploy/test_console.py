from __future__ import annotations

import pytest

from skymetal.deploy import console
from skymetal.deploy.console import format_table, say, track


def test_a_table_is_aligned_numbers_right_and_words_left() -> None:
    text = format_table(["name", "rows"], [["a", "5"], ["longer", "–"], ["b", "12.5"]])
    assert text.splitlines() == ["name    rows", "a          5", "longer     –", "b       12.5"]
    assert format_table(["name"], []) == "name"


def test_in_a_log_waiting_shows_as_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    seen = list(track([3, 3, 4], title="score", total=10, unit="galaxies", amount=lambda n: n))
    assert seen == [3, 3, 4]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["score: 3 of 10 galaxies", "score: 6 of 10 galaxies"]
    assert "a second" in lines[0]
    assert "min left" in lines[0]


def test_what_the_newest_item_adds_is_in_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    list(track([1, 2], title="train", total=4, unit="epochs", amount=lambda n: n, note=lambda n: f"loss {n}"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("; ")[1] for line in lines] == ["loss 1", "loss 2"]


def test_what_is_said_is_printed_and_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        say("select: 3 rows")
    assert capsys.readouterr().out == "select: 3 rows\n"
    assert "select: 3 rows" in caplog.text
