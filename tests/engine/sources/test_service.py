from __future__ import annotations

import io
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from PIL import Image
from support.cutout_server import (
    FAULTS,
    PASSING,
    QUARANTINED,
    draw,
    draw_fits,
    fate,
    read_log,
    start_raw_server,
    start_server,
)

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList, write_targets
from skymetal.catalogs.web.http import FetchLimits
from skymetal.catalogs.web.pace import NUM_FAILURES, ServiceDown
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.service import ServiceSource

pytestmark = pytest.mark.timeout(30)
SIZE = 64
LIMITS = FetchLimits(deadline_s=5, attempts=4, backoff_s=0.01, total_s=20)
ONE_TRY = replace(LIMITS, attempts=1)
REASONS = {
    "broken": "HTTP 500: internal server error",
    "missing": "HTTP 404: not found",
    "clipped": "wrong size: 63×63 pixels, expected 64×64",
}


def make_source(path: Path, url: str, **changes: Any) -> ServiceSource:
    settings: dict[str, Any] = {
        "service": "sdss",
        "url": url,
        "downloads": str(path / "downloads"),
        "bands": ("i", "r", "g"),
        "framing": Framing(size_pix=SIZE, size_rule="petro5"),
        "requests_per_second": 1e6,
        "contact": "me@x.org",
        "limits": LIMITS,
    }
    return ServiceSource(**settings | changes)


def make_targets(count: int, **columns: list[Any]) -> pa.Table:
    base = {
        "object_id": [1237648702973411443 + 7 * number for number in range(count)],
        "ra": [150 + number / 100 for number in range(count)],
        "dec": [2 - number / 100 for number in range(count)],
        "petroR90_r": [3 + number % 7 for number in range(count)],
    }
    return pa.table(base | columns)


def on_disk(path: Path, targets: pa.Table) -> TargetList:
    return write_targets(LocalFolder(path), "targets.parquet", targets, selection={})


def read_all(path: Path, source: ServiceSource, targets: pa.Table) -> list[Cutout]:
    source.check(on_disk(path, targets))
    cutouts = list(source.read(targets))
    assert len(cutouts) == targets.num_rows
    return cutouts


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


def name(row: int) -> tuple[str, str]:
    return f"{150 + row / 100:.7f}", f"{2 - row / 100:.7f}"


@pytest.mark.parametrize(
    ("changes", "query"),
    [
        ({}, {"scale": f"{5.05 * 3 / 64:.6g}", "width": "64", "height": "64"}),
        (
            {
                "service": "legacy",
                "layer": "ls-dr10",
                "bands": ("z", "r", "g"),
                "framing": Framing(size_pix=SIZE, size_rule="fixed", pixel_scale_arcsec=0.262),
            },
            {"layer": "ls-dr10", "pixscale": "0.262", "size": "64"},
        ),
    ],
)
def test_the_services_are_asked_in_their_own_words(tmp_path: Path, changes: dict[str, Any], query: Any) -> None:
    with start_server(tmp_path / "log", faults={}) as url:
        (cutout,) = read_all(tmp_path, make_source(tmp_path, url, **changes), make_targets(1))
    (request,) = read_log(tmp_path / "log")
    assert request.query == {"ra": "150.0000000", "dec": "2.0000000"} | query
    assert cutout.source == f"{url}?" + "&".join(f"{key}={value}" for key, value in request.query.items())
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, decoded(draw(request.query, SIZE)))


@pytest.mark.slow
def test_every_galaxy_ends_as_its_fate_has_it_and_is_not_asked_for_again(tmp_path: Path) -> None:
    faults = dict.fromkeys(FAULTS, 0.07) | {"busy": 0.02}
    targets = make_targets(160)
    with start_server(tmp_path / "log", seed=2, faults=faults) as url:
        source = make_source(tmp_path, url, limits=replace(LIMITS, total_s=60))
        cutouts = read_all(tmp_path, source, targets)
        first = read_log(tmp_path / "log")
        again = list(source.read(targets))
        second = read_log(tmp_path / "log")[len(first) :]
    asked = Counter(request.position for request in first)
    fates = [fate(2, *name(row), faults) for row in range(160)]
    assert set(fates) == {"fine", *FAULTS}
    for row, (cutout, kind) in enumerate(zip(cutouts, fates, strict=True)):
        assert cutout.reason == REASONS.get(kind, "")
        tries = {"broken": 4, "moved": 2} | dict.fromkeys(set(PASSING) - {"moved"}, 2)
        assert asked[name(row)] == tries.get(kind, 1), kind
        if cutout.pixels is not None:
            assert bool(cutout.pixels.any()) == (kind != "black")
    for before, after in zip(cutouts, again, strict=True):
        assert (before.source, before.reason) == (after.source, after.reason)
        assert before.pixels is None or np.array_equal(before.pixels, after.pixels)
    assert {fate(2, *request.position, faults) for request in second} == {"broken", "missing"}


def one_answer(path: Path, body: bytes, **changes: Any) -> tuple[Cutout, int]:
    """Return what becomes of a galaxy whose every request has this answer, and the number of requests."""
    count = 0

    def answer(connection: socket.socket) -> None:
        nonlocal count
        count += 1
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)

    with start_raw_server(answer) as url:
        (cutout,) = read_all(path, make_source(path, url, **changes), make_targets(1))
    return cutout, count


def picture(size: int = SIZE, form: str = "JPEG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3)).astype(np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "reason", "num_requests"),
    [
        (b"", "empty answer", 4),
        (b"<html>502 Bad Gateway</html>", "not a JPEG image", 4),
        (b'{"error": "busy"}', "not a JPEG image", 4),
        (picture(form="PNG"), "not a JPEG image", 4),
        (b"\xff\xd8", "", 4),
        (picture()[: len(picture()) // 5], "truncated: ", 4),
        (picture()[: len(picture()) // 2], "truncated: ", 4),
        (picture()[:-9], "truncated: ", 4),
        (picture(63), "wrong size: 63×63 pixels, expected 64×64", 1),
        (picture(mode="L"), "wrong mode: L, expected RGB", 1),
        (
            picture().replace(b"\xff\xc0\0\x11\x08\0\x40\0\x40", b"\xff\xc0\0\x11\x08\xff\xdc\xff\xdc"),
            "wrong size: ",
            1,
        ),
        (picture(200), "too large: more than 20000 bytes", 1),
    ],
)
def test_what_is_no_picture_is_asked_for_again_and_then_told(
    tmp_path: Path, body: bytes, reason: str, num_requests: int
) -> None:
    """The bodies have no announced length, so that only the decoder can tell that they are not whole."""
    cutout, count = one_answer(tmp_path, body, limits=replace(LIMITS, max_bytes=20_000))
    assert cutout.pixels is None
    assert cutout.reason.startswith(reason)
    assert count == num_requests


def test_bytes_after_the_picture_or_flipped_in_it_stop_nothing(tmp_path: Path) -> None:
    chance = random.Random(3)
    outcomes = set()
    for trial in range(25):
        data = bytearray(picture()) + b"junk" * (trial % 2)
        for _ in range(trial):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        cutout, _ = one_answer(tmp_path / str(trial), bytes(data))
        outcomes.add(cutout.pixels is None)
    assert outcomes == {True, False}


FLUX: dict[str, Any] = {
    "service": "legacy",
    "layer": "ls-dr10",
    "bands": ("z", "r", "g"),
    "framing": Framing(size_pix=SIZE, size_rule="fixed", pixel_scale_arcsec=0.25),
    "rendering": Rendering(kind="flux"),
}


def test_legacy_gives_flux_with_the_bands_in_the_order_of_the_job(tmp_path: Path) -> None:
    with start_server(tmp_path / "log", faults={}) as url:
        source = make_source(tmp_path, url, **FLUX)
        (cutout,) = read_all(tmp_path, source, make_targets(1))
        (again,) = source.read(make_targets(1))
    (request,) = read_log(tmp_path / "log")
    assert (request.query["bands"], request.query["pixscale"], request.query["size"]) == ("grz", "0.25", "64")
    assert cutout.pixels is not None
    assert cutout.pixel_scale_arcsec == pytest.approx(0.25)
    flux_CHW = fits.getdata(io.BytesIO(draw_fits(request.query, SIZE)))
    assert np.array_equal(cutout.pixels, flux_CHW[::-1, ::-1].transpose(1, 2, 0).astype(np.float32))
    assert np.array_equal(cutout.pixels, again.pixels)  # type: ignore[arg-type]
    with fits.open(tmp_path / "downloads" / "443" / "1237648702973411443.fits") as hdus:
        assert np.array_equal(hdus[0].data, flux_CHW)


@pytest.mark.parametrize(
    ("fault", "reason", "num_requests"),
    [
        ("page", "", 2),
        ("empty", "", 2),
        ("truncated", "", 2),
        ("cut", "", 2),
        ("clipped", "wrong size: 63×63 pixels, expected 64×64", 1),
        ("black", "blank: no pixel has data in any band", 1),
    ],
)
def test_flux_that_is_not_whole_is_asked_for_again(tmp_path: Path, fault: str, reason: str, num_requests: int) -> None:
    with start_server(tmp_path / "log", faults={fault: 1.0}) as url:
        source = make_source(tmp_path, url, **FLUX | {"rendering": Rendering(kind="lupton")})
        (cutout,) = read_all(tmp_path, source, make_targets(1))
    assert cutout.reason == reason
    assert len(read_log(tmp_path / "log")) == num_requests
    if cutout.pixels is not None:
        assert (cutout.pixels.shape, cutout.pixels.dtype) == ((SIZE, SIZE, 3), np.uint8)


def test_flux_of_another_place_is_refused(tmp_path: Path) -> None:
    with start_server(tmp_path / "log", faults={"elsewhere": 1.0}) as url:
        (cutout,) = read_all(tmp_path, make_source(tmp_path, url, **FLUX), make_targets(1))
    assert cutout.pixels is None
    assert cutout.reason == "wrong galaxy: its WCS is centred 1.0 arcsec away"


def test_flux_with_a_header_too_long_to_seal_costs_its_galaxy(tmp_path: Path) -> None:
    header = b"".join(f"COMMENT {number}".encode().ljust(80) for number in range(3996))
    first, *others = (f"{text:<80}".encode() for text in ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"))
    body = first + b"".join(others) + header + b"END".ljust(80)
    cutout, count = one_answer(tmp_path, body + b" " * (-len(body) % 2880), **FLUX)
    assert cutout.reason == "unusual header: no END card in its first 256 KiB"
    assert count == 1


def test_pages_instead_of_flux_are_told(tmp_path: Path) -> None:
    page = b"<html>" + b" " * 6000
    cutout, count = one_answer(tmp_path, page, **FLUX)
    assert cutout.reason.startswith("not a whole FITS file: ")
    assert count == 4


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    other = next(file for file in sorted(path.parents[1].glob("*/*.jpg")) if file != path)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    changed = {
        "flip": bytes(flipped),
        "zero": bytes(len(data)),
        "truncate": data[:-20],
        "empty": b"",
        "swap": other.read_bytes(),
        "unsealed": picture(),
    }
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    elif kind != "delete":
        path.write_bytes(changed[kind])


@pytest.mark.parametrize("kind", ["flip", "zero", "truncate", "empty", "swap", "unsealed", "delete", "pipe", "endless"])
def test_a_damaged_file_is_fetched_again_once(tmp_path: Path, kind: str) -> None:
    targets = make_targets(3)
    with start_server(tmp_path / "log", faults={}) as url:
        source = make_source(tmp_path, url)
        before = read_all(tmp_path, source, targets)
        victim = sorted((tmp_path / "downloads").glob("*/*.jpg"))[1]
        whole = victim.read_bytes()
        damage(victim, kind)
        after = list(source.read(targets))
        assert len(read_log(tmp_path / "log")) == 4
        list(source.read(targets))
        assert len(read_log(tmp_path / "log")) == 4
    assert victim.read_bytes() == whole
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old.pixels, new.pixels)  # type: ignore[arg-type]


def test_a_kept_file_is_a_plain_picture_named_by_its_galaxy(tmp_path: Path) -> None:
    with start_server(tmp_path / "log", faults={}) as url:
        (cutout,) = read_all(tmp_path, make_source(tmp_path, url), make_targets(1))
    path = tmp_path / "downloads" / "443" / "1237648702973411443.jpg"
    with Image.open(path) as image:
        image.load()
        assert np.array_equal(np.asarray(image), cutout.pixels)  # type: ignore[arg-type]


def test_a_galaxy_that_moved_or_grew_is_asked_for_again(tmp_path: Path) -> None:
    with start_server(tmp_path / "log", faults={}) as url:
        source = make_source(tmp_path, url)
        for columns in ({}, {"ra": [150.5]}, {"ra": [150.5], "petroR90_r": [9]}, {"ra": [150.5], "petroR90_r": [9]}):
            read_all(tmp_path, source, make_targets(1, **columns))
    assert [(request.query["ra"], request.query["scale"]) for request in read_log(tmp_path / "log")] == [
        ("150.0000000", "0.236719"),
        ("150.5000000", "0.236719"),
        ("150.5000000", "0.710156"),
    ]


def test_a_folder_of_other_pictures_is_refused_by_what_differs(tmp_path: Path) -> None:
    targets = on_disk(tmp_path, make_targets(1))
    url = "http://127.0.0.1:9/"
    make_source(tmp_path, url).check(targets)
    LocalFolder(tmp_path).write("downloads/007/7.jpg", b"")
    make_source(tmp_path, url, contact="you@x.org", requests_per_second=3.0).check(targets)
    with pytest.raises(InputError, match=r"size_pix = 64, but this job has size_pix = 128"):
        make_source(tmp_path, url, framing=Framing(size_pix=128, size_rule="petro5")).check(targets)
    with pytest.raises(InputError, match="downloads holds pictures asked for with layer = null"):
        make_source(tmp_path, url, service="legacy", layer="ls-dr9", bands=("z", "r", "g")).check(targets)
    (tmp_path / "downloads" / "request.json").write_text("{")
    with pytest.raises(RuntimeError, match=r"request\.json is damaged"):
        make_source(tmp_path, url).check(targets)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name another folder"):
        make_source(tmp_path, url, downloads=str(tmp_path / "file")).check(targets)


def test_a_row_without_place_or_size_is_not_asked_for(tmp_path: Path) -> None:
    rows = {
        "ra": [150.0, None, float("nan"), float("inf"), 361.0, 10.0, 10.0, 360.0],
        "dec": [2.0, 1.0, 1.0, 1.0, 1.0, -91.0, None, -90.0],
        "petroR90_r": [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    }
    with start_server(tmp_path / "log", faults={}) as url:
        source = make_source(tmp_path, url)
        source.check(on_disk(tmp_path, make_targets(1)))
        reasons = [cutout.reason for cutout in source.read(make_targets(8, **rows))]
    assert reasons[0] == "no size: petroR90_r is not above 0"
    assert reasons[1] == "no position: ra is None, dec is 1.0"
    assert [reason.partition(":")[0] for reason in reasons[2:]] == ["no position"] * 5 + [""]
    assert len(read_log(tmp_path / "log")) == 1


def test_an_outage_ends_the_run_and_the_next_run_starts_afresh(tmp_path: Path) -> None:
    targets = make_targets(200)
    with start_server(tmp_path / "log", faults={"down": 1.0}) as url:
        source = make_source(tmp_path, url, limits=ONE_TRY)
        source.check(on_disk(tmp_path, targets))
        with pytest.raises(ServiceDown, match=r"127\.0\.0\.1 failed for 2\d galaxies in a row.*'HTTP 503: service"):
            list(source.read(targets))
        assert NUM_FAILURES <= len(read_log(tmp_path / "log")) < NUM_FAILURES + 5
        with pytest.raises(ServiceDown):
            next(source.read(targets))
        num_asked = len(read_log(tmp_path / "log"))
        source.check(on_disk(tmp_path, targets))
        with pytest.raises(ServiceDown):  # 20 more, then 180 are left
            list(source.read(targets.slice(100)))
    assert len(read_log(tmp_path / "log")) > num_asked
    source.check(on_disk(tmp_path, targets))
    with pytest.raises(ServiceDown, match="connection refused"):
        list(source.read(targets))


@pytest.mark.parametrize("count", [1, 3, NUM_FAILURES])
def test_an_outage_in_the_last_galaxies_of_a_shard_is_one_too(tmp_path: Path, count: int) -> None:
    """However few they are: they would be recorded as quarantined for ever."""
    targets = make_targets(5 + count)
    with start_server(tmp_path / "log", faults={}) as url:
        source = make_source(tmp_path, url, limits=ONE_TRY)
        read_all(tmp_path, source, targets.slice(0, 5))
    with pytest.raises(ServiceDown, match="connection refused"):
        list(source.read(targets))
    with pytest.raises(ServiceDown, match="connection refused"):
        list(source.read(targets.slice(5)))


def test_galaxies_that_the_service_does_not_have_are_no_outage(tmp_path: Path) -> None:
    targets = make_targets(3 * NUM_FAILURES + 1)
    with start_server(tmp_path / "log", faults={}) as url:
        read_all(tmp_path, make_source(tmp_path, url), targets.slice(0, 1))
        port = urlsplit(url).port
    for first in (0, 1):  # what was given before is kept, or in another shard
        with start_server(tmp_path / "log", faults={"missing": 1.0}, port=port) as url:
            cutouts = read_all(tmp_path, make_source(tmp_path, url, limits=ONE_TRY), targets.slice(first))
        assert [cutout.reason for cutout in cutouts[1 - first :]] == ["HTTP 404: not found"] * 3 * NUM_FAILURES


@pytest.mark.parametrize("count", [NUM_FAILURES, 3 * NUM_FAILURES])
def test_a_service_that_has_none_of_the_first_galaxies_is_the_wrong_address(tmp_path: Path, count: int) -> None:
    targets = make_targets(count)
    with start_server(tmp_path / "log", faults={"missing": 1.0}) as url:
        source = make_source(tmp_path, url, limits=ONE_TRY)
        with pytest.raises(
            ServiceDown,
            match=r"answered 'HTTP 404: not found' for each of the first 2\d galaxies; check \[images\] ser",
        ):
            read_all(tmp_path, source, targets)
        assert len(read_log(tmp_path / "log")) < NUM_FAILURES + 5
        port = urlsplit(url).port
    with start_server(tmp_path / "log", faults={}, port=port) as url:
        cutouts = read_all(tmp_path, source, targets)
    assert {cutout.reason for cutout in cutouts} == {""}


def test_fewer_than_twenty_galaxies_may_all_be_unknown(tmp_path: Path) -> None:
    with start_server(tmp_path / "log", faults={"missing": 1.0}) as url:
        cutouts = read_all(tmp_path, make_source(tmp_path, url, limits=ONE_TRY), make_targets(NUM_FAILURES - 1))
    assert {cutout.reason for cutout in cutouts} == {"HTTP 404: not found"}


@pytest.mark.parametrize(
    ("fault", "reason"), [("broken", "HTTP 500: internal"), ("empty", "empty answer"), ("cut", "short body: ")]
)
def test_a_service_that_gives_nobody_a_picture_is_an_outage(tmp_path: Path, fault: str, reason: str) -> None:
    with start_server(tmp_path / "log", faults={fault: 1.0}) as url, pytest.raises(ServiceDown, match=reason):
        read_all(tmp_path, make_source(tmp_path, url, limits=ONE_TRY), make_targets(3 * NUM_FAILURES))


@pytest.mark.parametrize("fault", ["broken", "down"])
def test_a_shard_of_which_only_failures_are_left_can_be_finished(tmp_path: Path, fault: str) -> None:
    """A killed run has kept the good pictures, so that the next one asks for nothing but what fails for ever."""
    faults = {fault: 0.3}
    fates = [fate(4, *name(row), faults) for row in range(110)]
    count = len(fates) - fates[::-1].index(fault)  # the last galaxy of the shard is one of them
    targets = make_targets(count)
    with start_server(tmp_path / "log", seed=4, faults=faults) as url:
        source = make_source(tmp_path, url, limits=ONE_TRY)
        first = read_all(tmp_path, source, targets)
        num_asked = len(read_log(tmp_path / "log"))
        again = read_all(tmp_path, source, targets)
    assert [bool(cutout.reason) for cutout in first] == [kind == fault for kind in fates[:count]]
    assert [cutout.reason for cutout in again] == [cutout.reason for cutout in first]
    num_failing = fates[:count].count(fault)
    assert num_failing > NUM_FAILURES + 5
    num_fine = len(read_log(tmp_path / "log")) - num_asked - num_failing
    assert 0 <= num_fine <= 10, "one picture tells that the service is up"


def test_no_galaxy_is_given_up_while_it_waits_for_its_turn(tmp_path: Path) -> None:
    with start_server(tmp_path / "log", faults={}) as url:
        source = make_source(tmp_path, url, requests_per_second=5.0, limits=replace(LIMITS, total_s=0.3))
        cutouts = read_all(tmp_path, source, make_targets(6))
    assert [cutout.reason for cutout in cutouts] == [""] * 6


def test_a_slow_reply_holds_up_no_other_and_the_order_stays(tmp_path: Path) -> None:
    targets = make_targets(16)
    with start_server(tmp_path / "log", faults={"slow": 1.0}) as url:
        start = time.monotonic()
        cutouts = read_all(tmp_path, make_source(tmp_path, url), targets)
    assert time.monotonic() - start < 0.3 * 16 * 0.6
    assert [cutout.source.partition("ra=")[2][:11] for cutout in cutouts] == [name(row)[0] for row in range(16)]


def test_who_stops_reading_stops_asking(tmp_path: Path) -> None:
    with start_server(tmp_path / "log", faults={}) as url:
        source = make_source(tmp_path, url, requests_per_second=60.0)
        source.check(on_disk(tmp_path, make_targets(300)))
        cutouts = source.read(make_targets(300))
        next(cutouts)
        cutouts.close()  # type: ignore[attr-defined]
        num_asked = len(read_log(tmp_path / "log"))
        time.sleep(0.4)
        assert len(read_log(tmp_path / "log")) == num_asked
        assert num_asked < 80
        waiting = source.read(make_targets(300))
        next(waiting)
        time.sleep(1.8)  # a reader that is slow to take is not run ahead of for ever
        assert len(read_log(tmp_path / "log")) - num_asked < 75
        waiting.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"service": "des"}, "gives nothing that is known here; choose 'sdss' or 'legacy'"),
        ({"url": "ftp://x.org/"}, "service_url must be an https address"),
        ({"url": "http://x.org/"}, "service_url must begin with https"),
        ({"url": "http://127.0.0.1.x.org/"}, "service_url must begin with https"),
        ({"url": "https://x.org/?a=1"}, "without a query"),
        ({"url": "https://u:p@x.org/"}, "service_url must be an https address"),
        ({"url": "https://[x/"}, "service_url must be an https address"),
        ({"requests_per_second": 0.0}, "must be above 0 and at most 20, got 0"),
        ({"requests_per_second": 21.0}, "must be above 0 and at most 20, got 21"),
        ({"requests_per_second": float("nan")}, "must be above 0"),
        ({"contact": ""}, "contact must be your e-mail address"),
        ({"contact": "me\r\nX: y"}, "contact must be your e-mail address"),
        ({"framing": Framing(size_pix=63, size_rule="petro5")}, "size_pix must be 64 to 2048 for the SDSS service"),
        ({"framing": Framing(size_pix=4096, size_rule="petro5")}, "size_pix must be 64 to 2048 for the SDSS service"),
        ({"bands": ("z", "r", "g")}, "pictures are .'i', 'r', 'g'., red first, .*; leave bands out"),
        ({"service": "legacy", "layer": "ls-dr9"}, "pictures are .'z', 'r', 'g'., red first, .*; leave bands out"),
        ({"rendering": Rendering(kind="flux")}, "the service 'sdss' gives pictures, not flux"),
        ({"service": "legacy"}, "layer must be that of a Legacy Survey"),
        ({"service": "legacy", "layer": "a&b=c"}, "layer must be that of a Legacy Survey"),
    ],
)
def test_settings_that_make_no_sense_cannot_exist(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    settings = {"requests_per_second": 2.0} | changes
    with pytest.raises(InputError, match=message):
        make_source(tmp_path, settings.pop("url", "https://x.org/cutout"), **settings)


def test_what_the_targets_lack_is_told_before_any_work(tmp_path: Path) -> None:
    source = make_source(tmp_path, "", requests_per_second=1.0)
    with pytest.raises(InputError, match="needs the columns ra and dec"):
        source.check(on_disk(tmp_path, make_targets(1).drop_columns(["ra", "dec"])))
    with pytest.raises(InputError, match="needs the column petroR90_r"):
        source.check(on_disk(tmp_path, make_targets(1).drop_columns(["petroR90_r"])))
    assert not (tmp_path / "downloads").exists()


def test_a_source_travels_to_the_workers(tmp_path: Path) -> None:
    source = make_source(tmp_path, "", requests_per_second=1.0)
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301


READ = """
import pickle
import sys
with open(sys.argv[1], "rb") as file:
    source, targets = pickle.load(file)
first, count = map(int, sys.argv[2:])
for cutout in source.read(targets.slice(first, count)):
    print(cutout.reason or int(cutout.pixels.sum()), flush=True)
"""


def start_reading(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    arguments = map(str, (path, first, count))
    return subprocess.Popen([sys.executable, "-c", READ, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(110)
def test_four_processes_killed_and_started_again_ask_for_nothing_twice(tmp_path: Path) -> None:
    share, seed = 50, 5
    targets = make_targets(4 * share)
    children: list[subprocess.Popen[str]] = []

    def kept() -> set[str]:
        return {path.stem for path in (tmp_path / "downloads").glob("*/*.jpg")}

    with start_server(tmp_path / "log", seed=seed) as url:
        source = make_source(tmp_path, url, requests_per_second=200.0)
        source.check(on_disk(tmp_path, targets))
        (tmp_path / "work").write_bytes(pickle.dumps((source, targets)))
        try:
            children = [start_reading(tmp_path / "work", part * share, share) for part in range(4)]
            while len(kept()) < 100:
                assert any(child.poll() is None for child in children)
                time.sleep(0.01)
            for child in children:
                child.send_signal(signal.SIGKILL)
                child.communicate()
            kept_before, num_before = kept(), len(read_log(tmp_path / "log"))
            children = [start_reading(tmp_path / "work", part * share, share) for part in range(4)]
            lines = [line for child in children for line in child.communicate(timeout=90)[0].splitlines()]
            assert [child.returncode for child in children] == [0] * 4
        finally:
            for child in children:
                with child:
                    child.kill()
    row_of = {name(row): row for row in range(4 * share)}
    log = read_log(tmp_path / "log")
    asked_again = {str(targets["object_id"][row_of[request.position]]) for request in log[num_before:]}
    assert 100 <= len(kept_before) < 4 * share
    assert not asked_again & kept_before
    assert len(lines) == 4 * share
    for row, line in enumerate(lines):
        kind = fate(seed, *name(row))
        assert REASONS.get(kind, "0" if kind == "black" else line) == line, kind
        assert (kind in QUARANTINED) == (not line.isdigit() or line == "0")
    times = [request.time for request in log]
    assert len(log) <= 200 * (times[-1] - times[0]) + 2


def test_downloads_are_not_kept_in_a_bucket(tmp_path: Path) -> None:
    asking = make_source(tmp_path, "http://127.0.0.1:1", downloads="s3://bucket/run/downloads")
    with pytest.raises(InputError, match="must be a path on a disk that every worker sees, to keep what 'sdss' sends"):
        asking.check(on_disk(tmp_path, make_targets(1)))
