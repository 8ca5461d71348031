"""Arrow's view of a bucket: objects read by ranges, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystemHandler, FileType

BUFFER_BYTES = 1 << 20
ReadRange = Callable[[str, int, int], bytes]


class ObjectReader(FileSystemHandler):  # type: ignore[misc]
    """A filesystem of one bucket whose paths are keys.

    find_size gives an object's size, or None; read_range its bytes from a start up to an end.
    """

    def __init__(self, where: str, find_size: Callable[[str], int | None], read_range: ReadRange) -> None:
        self.where = where
        self._find_size = find_size
        self._read_range = read_range

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectReader) and self.where == other.where

    def __ne__(self, other: object) -> bool:
        return not self == other

    def get_type_name(self) -> str:
        """Return the kind of filesystem."""
        return "skymetal-objects"

    def normalize_path(self, path: str) -> str:
        """Return the path as it is: a key."""
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[FileInfo]:
        """Return what is known of some objects."""
        sizes = {path: self._find_size(path) for path in paths}
        return [
            FileInfo(path, FileType.NotFound if size is None else FileType.File, size=size)
            for path, size in sizes.items()
        ]

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Open an object for reading at random."""
        size = self._find_size(path)
        if size is None:
            raise FileNotFoundError(f"{self.where}: there is no object {path}")
        return pa.PythonFile(io.BufferedReader(_Object(path, size, self._read_range), BUFFER_BYTES), mode="r")

    open_input_stream = open_input_file

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        """Refuse to list: our readers know their files by name."""
        self._refuse()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"{self.where} is read by Arrow, and neither listed nor written")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = _refuse


class _Object(io.RawIOBase):
    def __init__(self, path: str, size: int, read_range: ReadRange) -> None:
        super().__init__()
        self._path, self._size, self._read_range = path, size, read_range
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        stop = min(self._place + len(buffer), self._size)
        if stop <= self._place:
            return 0
        data = self._read_range(self._path, self._place, stop)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
