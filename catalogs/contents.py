"""What is in a version of the catalogue: every file with its size and digest, every data file with its rows.

The list makes a cone search read only the files it needs, and a flipped byte or a lost file known by name. It is itself
named by its digest in the version's properties, and those by a digest in their last line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from skymetal.catalogs.errors import first_line
from skymetal.catalogs.hats import COLLECTION, format_properties, parse_properties
from skymetal.catalogs.parts import decode_parquet, encode_parquet
from skymetal.catalogs.storage import Folder, digest

LINK, VERSIONS = "catalogue", "versions"
"""In a run directory: the link to the published version, and the folder of all."""
PLAIN_PROPERTIES = "catalogue.properties"
"""A version's own properties; where there are positions they are those of a HATS collection."""
NUM_ROWS, NUM_PARTITIONS = "skymetal_num_rows", "skymetal_num_partitions"
CONTENTS = "contents.parquet"
CONTENTS_DIGEST = "skymetal_contents_digest"
_OWN_DIGEST = "skymetal_properties_digest"
_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("num_rows", pa.int64()),
        pa.field("first", pa.int64()),
        pa.field("last", pa.int64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a version. Of a data file also its rows and the first and last value of what they are sorted by."""

    file: str
    num_bytes: int
    digest: str
    num_rows: int | None = None
    first: int | None = None
    last: int | None = None


def describe_file(file: str, data: bytes) -> FileEntry:
    """Return the entry of a file that holds no rows."""
    return FileEntry(file=file, num_bytes=len(data), digest=digest(data))


def encode_contents(entries: Iterable[FileEntry]) -> bytes:
    """Return the list as a file, by name."""
    rows = [vars(entry) for entry in sorted(entries, key=lambda each: each.file)]
    return encode_parquet(pa.Table.from_pylist(rows, schema=_SCHEMA))


def read_contents(version: Folder, properties: dict[str, str]) -> pa.Table:
    """Return the list of a version: file, num_bytes, digest, num_rows, first, last.

    Raises ValueError where it is not the one that the properties name, OSError where it cannot be read.
    """
    data = version.read(CONTENTS)
    if digest(data) != properties.get(CONTENTS_DIGEST):
        raise ValueError(f"{CONTENTS} is not what the properties say")
    return decode_parquet(data)


def is_whole(version: Folder) -> bool:
    """Tell whether a version is there with every file of its list, each of its size."""
    try:
        contents = read_contents(version, read_properties(version))
        return all(
            version.find_size(file) == num_bytes
            for file, num_bytes in zip(contents["file"].to_pylist(), contents["num_bytes"].to_pylist(), strict=True)
        )
    except (KeyError, ValueError, OSError):  # Arrow's errors are the last two
        return False


def is_version(folder: Folder) -> bool:
    """Tell whether a folder is a version of ours, be it damaged: any of the files that only we write is there."""
    is_ours = folder.find_size(COLLECTION) is not None and CONTENTS_DIGEST.encode() in folder.read(COLLECTION)
    return is_ours or any(folder.find_size(name) is not None for name in (PLAIN_PROPERTIES, CONTENTS))


def read_properties(version: Folder) -> dict[str, str]:
    """Return a version's properties; raise ValueError where they are damaged, FileNotFoundError for a lack of any."""
    for name in (COLLECTION, PLAIN_PROPERTIES):
        if version.find_size(name) is not None:
            try:
                return open_properties(version.read(name))
            except ValueError as error:
                raise ValueError(f"{name} cannot be trusted: {first_line(error)}") from error
    raise FileNotFoundError(f"it has no {COLLECTION} and no {PLAIN_PROPERTIES}")


def seal_properties(properties: dict[str, str]) -> bytes:
    """Return a properties file whose last line is the digest of those before."""
    data = format_properties(properties)
    return data + format_properties({_OWN_DIGEST: digest(data)})


def open_properties(data: bytes) -> dict[str, str]:
    """Return the properties of a sealed file; raise ValueError where its digest is not that of its lines."""
    properties = parse_properties(data)
    sealed = properties.pop(_OWN_DIGEST, "")
    if digest(format_properties(properties)) != sealed:
        raise ValueError("its last line is not the digest of those before")
    return properties
