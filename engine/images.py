"""The job file's ``[images]``: where cutouts come from, how much sky they show, and how they are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder
from skymetal.engine.framing import PETRO5, Framing
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.rendering import FLUX, LUPTON, Rendering
from skymetal.engine.sources import ImageSource
from skymetal.engine.sources.array import ArraySource
from skymetal.engine.sources.fits_cutouts import FitsSource
from skymetal.engine.sources.folder import FolderSource
from skymetal.engine.sources.mosaic import MosaicSource
from skymetal.engine.sources.service import ServiceSource
from skymetal.engine.sources.simulated import SimulatedSource

SERVICES = ("sdss", "legacy")
SOURCES = ("folder", "fits", "mosaic", "array", *SERVICES, "simulated")
DTYPES = ("uint8", "float32")
MAX_SHARD_BYTES = 4 << 30
_FITTED_SHARDS = 128
"""So many at least, where the galaxies suffice: a shard is what progress, many workers and a restart count in."""
_FITTED_SIZE = (128, 2048)
"""Of smaller shards networks compute too much padding; larger ones are not read faster."""
_FITTED_BYTES = 256 << 20
MAX_BANDS = 8
_PATTERNS = {"folder": "{object_id}.jpg", "fits": "{object_id}.fits"}
SDSS_JPEG = "sdss-jpeg"
_STRETCHES = {"sdss": SDSS_JPEG, "legacy": "legacy-jpeg", "simulated": "asinh"}
_BANDS = {"legacy": ("z", "r", "g")}


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Sizes ending in _pix are in pixels on a side, shard_size and chunk_size in galaxies.

    source and folder, pattern, service_url …: where images are read. Ready-made images are input_size_pix wide;
    their middle crop_pix are kept and resampled to size_pix. dtype and stretch: what is stored; ``float32`` keeps
    flux, ``uint8`` a picture, made from flux by ``lupton`` or as the source drew it (then stretch only says how).
    A shard_size left out is fitted to the survey: see :meth:`shard_size_for`.
    """

    source: str
    folder: str = field(default="", metadata={"path": True})
    pattern: str = ""
    images_key: str = "images"
    object_id_key: str = "object_id"
    service_url: str = ""
    layer: str = "ls-dr10"
    requests_per_second: float = 1.0
    contact: str = ""
    bands: tuple[str, ...] = ()
    file_bands: tuple[str, ...] = ()
    size_pix: int = 128
    input_size_pix: int | None = None
    crop_pix: int | None = None
    size_rule: str = PETRO5
    pixel_scale_arcsec: float | None = None
    dtype: str = "uint8"
    stretch: str = ""
    lupton_q: float = 8.0
    lupton_stretch: float = 0.2
    lupton_minimum: float = 0.0
    lupton_scales: tuple[float, ...] = (1.0, 1.5, 2.5)
    shard_size: int | None = None
    chunk_size: int = 64

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise InputError(f"[images] source must be one of {', '.join(SOURCES)}, got {self.source!r}")
        if self.source in ("folder", "fits", "mosaic", "array") and not self.folder:
            raise InputError(f"[images] folder is missing; name where source = {self.source!r} finds its images")
        if self.source == "mosaic" and not self.pattern:
            raise InputError(
                "[images] pattern is missing; name the frames of one band each, as in 'frame-{band}-*.fits.bz2' or "
                "'{brickname}/legacysurvey-{brickname}-image-{band}.fits.fz'"
            )
        self._fill_in()
        self._check_pixels()
        self._check_sizes()
        self._check_shard()
        self.framing()
        self.rendering()

    def _fill_in(self) -> None:
        """Write out the defaults that depend on the source, so that the resolved job tells all of them."""
        flux = self.dtype == "float32"
        defaults = {
            "pattern": _PATTERNS.get(self.source, ""),
            "bands": _BANDS.get(self.source, ("i", "r", "g")),
            "stretch": FLUX if flux else LUPTON if self._reads_flux else _STRETCHES.get(self.source, SDSS_JPEG),
        }
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)

    @property
    def _reads_flux(self) -> bool:
        return self.source in ("fits", "mosaic") or self.stretch == LUPTON or self.dtype == "float32"

    def _check_pixels(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"[images] dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if len(set(self.bands)) != len(self.bands):
            raise InputError(f"[images] bands must differ from each other, got {list(self.bands)}")
        if self.dtype == "uint8" and len(self.bands) != 3:
            raise InputError(f"[images] bands must name 3 bands, red first, got {len(self.bands)}: {list(self.bands)}")
        if len(self.bands) > MAX_BANDS or not all(band.isalnum() for band in self.bands + self.file_bands):
            raise InputError(
                f"[images] bands and file_bands must be at most {MAX_BANDS} names of letters and digits, "
                f"got {list(self.bands)} and {list(self.file_bands)}"
            )
        if (self.dtype == "float32") != (self.stretch == FLUX):
            raise InputError(
                f"[images] dtype = {self.dtype!r} and stretch = {self.stretch!r} do not go together: "
                "flux is float32, every other stretch is uint8"
            )
        if self._reads_flux and self.source in ("folder", "sdss", "simulated"):
            raise InputError(
                f"[images] source = {self.source!r} gives pictures, not flux; leave dtype and stretch out, "
                "or choose fits, mosaic, array or legacy"
            )
        if not self.stretch.isprintable():
            raise InputError(f"[images] stretch must be a name of printable signs, got {self.stretch!r}")
        if self.source in ("fits", "mosaic") and self.stretch not in (FLUX, LUPTON):
            raise InputError(f"[images] stretch of source = {self.source!r} must be 'lupton', got {self.stretch!r}")

    def _check_sizes(self) -> None:
        for name in ("size_pix", "shard_size", "chunk_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"[images] {name} must be at least 1, got {value}")
        if not 0 < self.crop_size <= self.input_size:
            raise InputError(
                f"[images] crop_pix must be 1 to input_size_pix, got {self.crop_size} of {self.input_size}"
            )
        if self.source not in ("folder", "fits", "array") and (self.input_size_pix or self.crop_pix):
            raise InputError(
                f"[images] input_size_pix and crop_pix have no use with source = {self.source!r}, "
                "which makes cutouts of size_pix by size_rule; remove them"
            )

    def _check_shard(self) -> None:
        name = "chunk_size" if self.shard_size is None else "shard_size"
        size = self.shard_size or self.chunk_size  # a shard is of one chunk at least
        if size % self.chunk_size:
            raise InputError(f"[images] shard_size must be a multiple of chunk_size, got {size} and {self.chunk_size}")
        num_bytes = size * self.spec(survey="").cutout_bytes
        if num_bytes > MAX_SHARD_BYTES:
            raise InputError(
                f"[images] a shard of {name} = {size} cutouts of size_pix = {self.size_pix} is "
                f"{num_bytes / 2**30:.1f} GiB in memory, at most {MAX_SHARD_BYTES >> 30} are allowed; make one smaller"
            )

    def shard_size_for(self, num_galaxies: int) -> int:
        """Return shard_size; left out, 128 to 2048 galaxies in whole chunks, 256 MB at most, or else one chunk."""
        if self.shard_size is not None:
            return self.shard_size
        least, most = _FITTED_SIZE
        size = min(max(num_galaxies // _FITTED_SHARDS, least), most, _FITTED_BYTES // self.spec(survey="").cutout_bytes)
        return max(size // self.chunk_size, 1) * self.chunk_size

    @property
    def input_size(self) -> int:
        """The size source files must have."""
        return self.input_size_pix if self.input_size_pix is not None else self.size_pix

    @property
    def crop_size(self) -> int:
        """How much of the middle of a source file is kept."""
        return self.crop_pix if self.crop_pix is not None else self.input_size

    @property
    def needs_decoder(self) -> bool:
        """Whether each worker has a process beside it that decodes FITS."""
        return self._reads_flux and self.source != "array"

    def framing(self) -> Framing:
        """Return the size rule."""
        return Framing(size_pix=self.size_pix, size_rule=self.size_rule, pixel_scale_arcsec=self.pixel_scale_arcsec)

    def rendering(self) -> Rendering | None:
        """Return how flux becomes pixels; None where the source gives pictures."""
        if not self._reads_flux:
            return None
        return Rendering(
            kind=self.stretch,
            q=self.lupton_q,
            stretch=self.lupton_stretch,
            minimum=self.lupton_minimum,
            scales=self.lupton_scales,
        )

    def spec(self, *, survey: str) -> ImageSpec:
        """Return what the stored cutouts will be."""
        rendering = self.rendering()
        return ImageSpec(
            survey=survey,
            bands=self.bands,
            size_pix=self.size_pix,
            dtype=self.dtype,
            stretch=str(rendering) if rendering else self.stretch,
            size_rule=str(self.framing()),
        )


def make_source(settings: ImageSettings, *, run_dir: Folder, seed: int) -> ImageSource:
    """Return the source of a job's images. Services keep what they download in ``folder``, or in the run directory."""
    framing, rendering = settings.framing(), settings.rendering()
    sizes = {"input_size_pix": settings.input_size, "crop_pix": settings.crop_size}
    if settings.source == "simulated":
        return SimulatedSource(size_pix=settings.size_pix, seed=seed)
    if settings.source == "folder":
        return FolderSource(folder=settings.folder, pattern=settings.pattern, size_pix=settings.size_pix, **sizes)
    if settings.source == "fits":
        return FitsSource(
            folder=settings.folder,
            pattern=settings.pattern,
            bands=settings.bands,
            file_bands=settings.file_bands,
            framing=framing,
            rendering=_needed(rendering),
            **sizes,
        )
    if settings.source == "mosaic":
        return MosaicSource(
            folder=settings.folder,
            pattern=settings.pattern,
            bands=settings.bands,
            framing=framing,
            rendering=_needed(rendering),
            index_folder=str(run_dir),
        )
    if settings.source == "array":
        return ArraySource(
            path=settings.folder,
            images_key=settings.images_key,
            object_id_key=settings.object_id_key,
            bands=settings.bands,
            file_bands=settings.file_bands,
            framing=framing,
            rendering=rendering,
            **sizes,
        )
    return ServiceSource(
        service=settings.source,
        url=settings.service_url,
        layer=settings.layer,
        bands=settings.bands,
        framing=framing,
        rendering=rendering,
        downloads=settings.folder or str(run_dir / "downloads"),
        requests_per_second=settings.requests_per_second,
        contact=settings.contact,
    )


def _needed(rendering: Rendering | None) -> Rendering:
    if rendering is None:
        raise ValueError("a source of flux needs a rendering")
    return rendering
