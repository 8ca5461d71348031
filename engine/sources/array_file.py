"""HDF5 files and Zarr folders of arrays, opened so that nothing outside them is read and no code in them runs."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec
from zarr.core.metadata.v2 import ArrayV2Metadata
from zarr.storage import LocalStore

from skymetal.catalogs.errors import InputError, did_you_mean, first_line, printable

MAX_CHUNK_BYTES = 1 << 30
MAX_FILE_BYTES = 4 << 30
"""Of one file of a Zarr folder: a chunk, or a shard, of which a part is read."""
NUM_KEYS_SHOWN = 1000
_HDF5_CACHE_BYTES = 32 << 20
# zarr knows more, its plugins more still, and numcodecs' pickle runs code.
_V2_CODECS = {"blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "shuffle", "delta", "fixedscaleoffset", "crc32c"}
_V3_CODECS = (BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec)


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """An open file. Its arrays have ``shape``, ``dtype``, ``chunks`` (None if contiguous) and are read by slices."""

    path: str
    find: Callable[[str], Any]
    keys: Callable[[], list[str]]

    def array(self, setting: str, key: str) -> Any:
        """Return an array; raise InputError where there is none or it is not to be trusted."""
        found = self.find(key)
        if found is None:
            raise InputError(
                f"[images] {setting} {key!r} is no array of {self.path}; {did_you_mean(key, self.keys() or ['none'])}"
            )
        chunk_bytes = math.prod(found.chunks or (0,)) * found.dtype.itemsize
        if chunk_bytes > MAX_CHUNK_BYTES:
            raise InputError(
                f"[images] {setting} {key!r} of {self.path} has chunks of {chunk_bytes / 2**30:.1f} GiB, which are "
                f"read whole, and at most {MAX_CHUNK_BYTES >> 30} GiB is allowed; write it again in smaller chunks"
            )
        return found


@contextmanager
def open_array_file(path: str) -> Iterator[ArrayFile]:
    """Open a Zarr folder or an HDF5 file for reading; raise InputError where it is neither."""
    if Path(path).is_dir():
        yield _open_zarr(path)
    elif Path(path).is_file():
        with _open_hdf5(path) as file:
            yield file
    else:
        raise InputError(
            f"[images] folder {path} does not exist or is no file; name the .h5 file or .zarr folder with the images"
        )


def _open_zarr(path: str) -> ArrayFile:
    try:
        group = zarr.open_group(_PlainFiles(path, read_only=True), mode="r")
    except Exception as error:  # zarr reads foreign JSON: there is no telling what it may stumble over
        raise InputError(
            f"[images] folder {path} is not a Zarr group ({printable(first_line(error))}); "
            "name a group that holds the images and their object ids"
        ) from error

    def find(key: str) -> Any:
        try:
            found = group[key]
        except KeyError:
            return None
        except Exception as error:
            raise InputError(f"[images] {path}: {key!r} cannot be opened: {printable(first_line(error))}") from error
        if not isinstance(found, zarr.Array):
            return None
        unknown = [name for name in _codec_names(found) if name]
        if unknown:
            raise InputError(
                f"[images] {path}: {key!r} is encoded by {printable(', '.join(unknown))}, which is not among those "
                "that are decoded here; write it again, compressed by zstd, gzip or blosc"
            )
        return found

    return ArrayFile(path=path, find=find, keys=lambda: sorted(name for name, _ in group.arrays())[:NUM_KEYS_SHOWN])


def _codec_names(found: zarr.Array[Any]) -> Iterator[str]:
    """Yield the name of each codec of an array that is not known to be harmless."""
    metadata: Any = found.metadata
    if isinstance(metadata, ArrayV2Metadata):
        for codec in (metadata.compressor, *(metadata.filters or ())):
            if codec is not None and codec.codec_id not in _V2_CODECS:
                yield str(codec.codec_id)
        return
    codecs = list(metadata.codecs)
    while codecs:
        codec = codecs.pop()
        if not isinstance(codec, _V3_CODECS):
            yield type(codec).__name__
        if isinstance(codec, ShardingCodec):
            codecs += [*codec.codecs, *codec.index_codecs]


class _PlainFiles(LocalStore):
    """A Zarr folder in which only regular files are opened: a pipe in the place of a chunk would never end."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return a file's bytes, or None where there is none; raise OSError for what is no file."""
        path = self.root / key
        if path.exists():
            if not path.is_file() and not path.is_dir():
                raise OSError(f"{key} is not a regular file")
            if path.stat().st_size > MAX_FILE_BYTES:
                raise OSError(f"{key} is larger than {MAX_FILE_BYTES} bytes")
        return await super().get(key, prototype, byte_range)


@contextmanager
def _open_hdf5(path: str) -> Iterator[ArrayFile]:
    h5py = _h5py()
    if zipfile.is_zipfile(path):
        raise InputError(f"[images] folder {path} is a zip archive; unpack it, and name the .zarr folder or .h5 file")
    try:
        # Nobody writes while we read, and locks fail on network file systems.
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=_HDF5_CACHE_BYTES)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"[images] folder {path} cannot be opened as HDF5 ({printable(first_line(error))}); "
            "name the .h5 file or the .zarr folder with the images"
        ) from error

    def keys() -> list[str]:
        names: list[str] = []

        def visit(name: str, node: Any) -> bool | None:
            if isinstance(node, h5py.Dataset):
                names.append(name)
            return True if len(names) >= NUM_KEYS_SHOWN else None  # anything but None ends the walk

        file.visititems(visit)
        return names

    with file:
        yield ArrayFile(path=path, find=lambda key: _find_dataset(h5py, file, key), keys=keys)


def _find_dataset(h5py: Any, file: Any, key: str) -> Any:
    """Return a dataset whose path and bytes are in this file; None where there is none."""
    node = file
    try:
        for name in key.strip("/").split("/"):
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) and name not in ("", ".") else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise InputError(
                    f"[images] {file.filename}: {key!r} is a link, perhaps out of the file; name the array itself"
                )
            node = node[name]
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"[images] {file.filename}: {key!r} cannot be opened: {printable(first_line(error))}"
        ) from error
    if not isinstance(node, h5py.Dataset) or node.shape is None:
        return None
    if node.is_virtual or node.external:
        raise InputError(f"[images] {file.filename}: {key!r} keeps its values in other files; copy them into one file")
    return node


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            "[images] reading HDF5 files needs h5py, which is not installed; run: pip install 'skymetal[hdf5]'"
        ) from error
    return h5py
