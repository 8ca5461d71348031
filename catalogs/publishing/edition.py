"""An edition: what decides the bytes of one version of the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from skymetal.catalogs.parts import Manifest
from skymetal.catalogs.schema import sort_key
from skymetal.catalogs.storage import Folder, digest

# Part of a version's name: raise it whenever the same parts would become other files.
LAYOUT = 3


@dataclass(frozen=True, kw_only=True)
class Edition:
    """The parts of a finished pass and how they are to be laid out: all that a version's bytes depend on."""

    parts: Folder
    manifest: Manifest
    schema: pa.Schema
    name: str
    max_rows: int
    margin_arcsec: float
    provenance: Mapping[str, str]

    def __post_init__(self) -> None:
        for key in self.provenance:
            if not re.fullmatch(r"\w+", key, re.ASCII):
                raise ValueError(f"a provenance key is one plain word, got {key!r}")

    @property
    def is_hats(self) -> bool:
        """Whether the galaxies have positions."""
        return "_healpix_29" in self.schema.names

    @property
    def sort_key(self) -> str:
        """The column that the parts are sorted by, within and from part to part."""
        return sort_key(self.schema.names)

    @cached_property
    def row_bytes(self) -> int:
        """What a row takes in memory; every column of a catalogue is of one width."""
        widths: list[int] = [
            field.type.list_size * field.type.value_type.bit_width
            if pa.types.is_fixed_size_list(field.type)
            else field.type.bit_width
            for field in self.schema
        ]
        return -(-sum(widths) // 8)

    @property
    def margin_name(self) -> str:
        """The name of the table of margins."""
        return f"{self.name}_margin_{self.margin_arcsec:g}arcsec"

    @cached_property
    def version(self) -> str:
        """The version's name, 16 hexadecimal digits: the same content, the same name."""
        fields = [[field.name, str(field.type), field.nullable, _words(field.metadata)] for field in self.schema]
        layout = [LAYOUT, self.name, self.max_rows, self.margin_arcsec, dict(self.provenance)]
        content = [self.manifest.digest, fields, _words(self.schema.metadata), layout]
        return digest(json.dumps(content, sort_keys=True).encode())[:16]

    @property
    def words(self) -> dict[str, str]:
        """What every properties file says of where the rows come from."""
        provenance = {f"skymetal_{key}": value for key, value in sorted(self.provenance.items())}
        return provenance | {
            "skymetal_catalogue_version": self.version,
            "skymetal_manifest_digest": self.manifest.digest,
        }


def _words(metadata: Mapping[bytes, bytes] | None) -> list[list[str]]:
    return sorted([key.decode(), value.decode()] for key, value in (metadata or {}).items())
