"""The cutout services of SDSS and of the Legacy Surveys: a picture a galaxy, asked for politely and only once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal import __version__
from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.fits.cards import FitsError
from skymetal.catalogs.fits.header import walk_hdus
from skymetal.catalogs.storage import LocalFolder, open_folder
from skymetal.catalogs.targets import TargetList
from skymetal.catalogs.web.http import FetchLimits
from skymetal.catalogs.web.pace import Pacer
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.asking import Desk, Wish
from skymetal.engine.sources.downloads import Downloads
from skymetal.engine.sources.fits_cutouts import FitsLayout, SkyPlace, read_fits_cutout
from skymetal.engine.sources.flux import render_cutout
from skymetal.engine.sources.pictures import Unsuitable, decode_picture

SDSS = "sdss"
LEGACY = "legacy"
URLS = {
    (SDSS, "jpg"): "https://skyserver.sdss.org/dr17/SkyServerWS/ImgCutout/getjpeg",
    (LEGACY, "jpg"): "https://www.legacysurvey.org/viewer/jpeg-cutout",
    (LEGACY, "fits"): "https://www.legacysurvey.org/viewer/fits-cutout",
}
SDSS_SIZES_PIX = (64, 2048)
PICTURE_BANDS = {SDSS: ("i", "r", "g"), LEGACY: ("z", "r", "g")}
MAX_REQUESTS_PER_SECOND = 20.0
MAX_OFFSET_PIX = 1.0
"""How far from the place that was asked for the middle of a FITS cutout may be."""
# The picture came, and asking again would bring the same one.
_SETTLED = ("wrong size", "wrong mode")


@dataclass(frozen=True, kw_only=True)
class ServiceSource:
    """Asks a cutout service for every galaxy, and keeps what it sends in the folder ``downloads``, which workers share.

    rendering None takes the service's own colour picture as it is; otherwise Legacy is asked for flux, as FITS. All
    workers together start at most requests_per_second requests a second; contact, an e-mail address or web page, is
    sent along with each.
    """

    service: str
    downloads: str
    bands: tuple[str, ...]
    framing: Framing
    rendering: Rendering | None = None
    url: str = ""
    layer: str = ""
    requests_per_second: float = 1.0
    contact: str = ""
    limits: FetchLimits = field(default_factory=FetchLimits)

    def __post_init__(self) -> None:
        if (self.service, self._ending) not in URLS:
            what = "pictures, not flux" if self.service == SDSS else "nothing that is known here"
            raise InputError(f"[images] the service {self.service!r} gives {what}; choose 'sdss' or 'legacy'")
        self._check_url()
        limit = math.inf if self._is_loopback else MAX_REQUESTS_PER_SECOND
        if not 0 < self.requests_per_second <= limit or math.isinf(self.requests_per_second):
            raise InputError(
                f"[images] requests_per_second must be above 0 and at most {MAX_REQUESTS_PER_SECOND:g}, "
                f"got {self.requests_per_second:g}; the services ask for 1 or 2"
            )
        if not (self.contact.isascii() and self.contact.isprintable()) or not (self.contact or self._is_loopback):
            raise InputError(
                "[images] contact must be your e-mail address or web page, in ASCII, so that the service can reach "
                f"you before it locks you out; got {self.contact!r}"
            )
        if self.service == LEGACY and not self.layer.replace("-", "").replace(".", "").isalnum():
            raise InputError(f"[images] layer must be that of a Legacy Survey, such as 'ls-dr10', got {self.layer!r}")
        low, high = SDSS_SIZES_PIX
        if self.service == SDSS and not low <= self.framing.size_pix <= high:
            raise InputError(
                f"[images] size_pix must be {low} to {high} for the SDSS service, got {self.framing.size_pix}"
            )
        if self.rendering is None and self.bands != PICTURE_BANDS[self.service]:
            raise InputError(
                f"[images] bands of the service's own pictures are {list(PICTURE_BANDS[self.service])}, red first, "
                f"got {list(self.bands)}; leave bands out"
            )

    def _check_url(self) -> None:
        parts = _split(self._address)
        if parts is None or parts.query or parts.fragment or parts.username is not None:
            raise InputError(
                f"[images] service_url must be an https address without a query, got {printable(self.url)!r}"
            )
        if parts.scheme != "https" and not self._is_loopback:
            raise InputError(f"[images] service_url must begin with https, got {printable(self.url)!r}")

    @property
    def _ending(self) -> str:
        return "jpg" if self.rendering is None else "fits"

    @property
    def _address(self) -> str:
        return self.url or URLS[self.service, self._ending]

    @property
    def _host(self) -> str:
        return urlsplit(self._address).hostname or ""

    @property
    def _is_loopback(self) -> bool:
        try:
            return self._host == "localhost" or ip_address(self._host).is_loopback
        except ValueError:
            return False

    @property
    def _folder(self) -> Path:
        """Where the pictures are, and what all workers know of the pace: both need a disk that they share."""
        folder = open_folder(self.downloads)
        if not isinstance(folder, LocalFolder):
            raise InputError(
                f"[images] folder must be a path on a disk that every worker sees, to keep what {self.service!r} "
                f"sends: {folder} is in a bucket"
            )
        return folder.path

    @property
    def _kept(self) -> Downloads:
        return Downloads(folder=LocalFolder(self._folder), ending=self._ending)

    @property
    def _pacer(self) -> Pacer:
        return Pacer(folder=self._folder, host=self._host, requests_per_second=self.requests_per_second)

    def check(self, targets: TargetList) -> None:
        """Raise InputError, before any work, where a request could not be made or its answer not be kept."""
        if not targets.has_sky:
            raise InputError(
                f"[images] source = {self.service!r} needs the columns ra and dec, which the target list lacks; "
                "map them in [targets] columns"
            )
        self.framing.check_columns(targets.schema)
        rule = {"service": self.service, "url": self._address, "size_pix": self.framing.size_pix}
        if self.service == LEGACY:
            rule["layer"] = self.layer
        if self.rendering is not None:
            rule["bands"] = self._asked_bands
        self._kept.claim(rule | {"size_rule": str(self.framing)})
        self._pacer.reset()

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target; what cannot be had is a reason. Raises ServiceDown in an outage."""
        desk = Desk(
            kept=self._kept,
            pacer=self._pacer,
            limits=self.limits,
            user_agent=f"skymetal/{__version__} ({self.contact})",
            complaint=self._complain_of_picture if self.rendering is None else _complain_of_fits,
            make=self._make_from_picture if self.rendering is None else self._make_from_fits,
        )
        return desk.serve(self._wishes(targets), cutout_bytes=self.framing.size_pix**2 * len(self.bands) * 4)

    def _wishes(self, targets: pa.Table) -> Iterator[Wish]:
        scales = self.framing.pixel_scales(targets).tolist()
        rows = (targets[name].to_pylist() for name in ("object_id", "ra", "dec"))
        for object_id, ra, dec, scale in zip(*rows, scales, strict=True):
            if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90):
                yield Wish(object_id=object_id, url=self._address, reason=f"no position: ra is {ra}, dec is {dec}")
            elif not math.isfinite(scale):
                yield Wish(object_id=object_id, url=self._address, reason="no size: petroR90_r is not above 0")
            else:
                yield Wish(object_id=object_id, url=self._request_url(ra, dec, scale), ra=ra, dec=dec)

    def _request_url(self, ra: float, dec: float, scale: float) -> str:
        query: dict[str, Any] = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}"}
        size_pix, scale_arcsec = self.framing.size_pix, f"{scale:.6g}"
        if self.service == SDSS:
            query |= {"scale": scale_arcsec, "width": size_pix, "height": size_pix}
        else:
            query |= {"layer": self.layer, "pixscale": scale_arcsec, "size": size_pix}
        if self.rendering is not None:
            query["bands"] = self._asked_bands
        return f"{self._address}?{urlencode(query)}"

    @property
    def _asked_bands(self) -> str:
        return "".join(sorted(self.bands, key="ugrizy".find))

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        size_pix = self.framing.size_pix
        return decode_picture(data, formats=("JPEG",), input_size_pix=size_pix, crop_pix=size_pix, size_pix=size_pix)

    def _complain_of_picture(self, data: bytes) -> str:
        if not data:
            return "empty answer"
        try:
            self._decode(data)
        except Unsuitable as unsuitable:
            return "" if str(unsuitable).partition(":")[0] in _SETTLED else str(unsuitable)
        return ""

    def _make_from_picture(self, data: bytes, path: Path, wish: Wish) -> Cutout:
        return Cutout(pixels=self._decode(data), source=wish.url)

    def _make_from_fits(self, data: bytes, path: Path, wish: Wish) -> Cutout:
        size_pix = self.framing.size_pix
        layout = FitsLayout(
            bands=self.bands,
            file_bands=tuple(self._asked_bands),
            input_size_pix=size_pix,
            crop_pix=size_pix,
            size_pix=size_pix,
        )
        place = SkyPlace(ra=wish.ra, dec=wish.dec, max_offset_pix=MAX_OFFSET_PIX)
        cutout = read_fits_cutout([path], layout, place=place)
        if self.rendering is None:
            raise ValueError("FITS needs a rendering")
        return render_cutout(cutout, source=wish.url, rendering=self.rendering)


def _complain_of_fits(data: bytes) -> str:
    """Judge by the header alone: what is behind it is decoded in a process of its own."""
    if not data:
        return "empty answer"
    try:
        walk_hdus(BytesIO(data), size=len(data))
    except FitsError as error:
        return f"not a whole FITS file: {error}"
    return ""


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None
