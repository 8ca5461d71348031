"""The requests to a bucket, each one whole: answered, or told as an error in words. Keys are from the bucket's root."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from skymetal.catalogs.errors import InputError, StorageFailed
from skymetal.catalogs.storage.s3 import FIRST_PATIENCE_SECONDS, PATIENCE_SECONDS, Result, ask, connect

WRITER = "skymetal-writer"
PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class Bucket:
    """A bucket by its name. Every request raises StorageFailed where the store does not do what it is asked."""

    name: str

    def url(self, key: str) -> str:
        """Return the URL of an object or folder."""
        return f"s3://{self.name}/{key}".rstrip("/")

    def head(self, key: str) -> dict[str, Any]:
        """Return what is known of an object, its size and e_tag; raise FileNotFoundError where there is none."""
        return self._ask(key, lambda client, store: dict(client.head(store, key)))

    def get(self, key: str, *, max_bytes: int | None) -> bytes:
        """Return a whole object; raise FileNotFoundError where there is none, OSError where it is too large."""

        def get(client: Any, store: Any) -> bytes | int:
            found = client.get(store, key)
            size = int(found.meta["size"])
            return size if max_bytes is not None and size > max_bytes else bytes(found.bytes())

        data = self._ask(key, get)
        if isinstance(data, int):
            raise OSError(f"{key.rpartition('/')[2]} has {data} bytes, at most {max_bytes} are expected")
        return data

    def get_range(self, key: str, start: int, stop: int) -> bytes:
        """Return some bytes of an object; raise FileNotFoundError where there is none."""
        return self._ask(key, lambda client, store: bytes(client.get_range(store, key, start=start, end=stop)))

    def get_pieces(self, key: str, take: Callable[[Iterator[bytes]], Result]) -> Result:
        """Return what ``take`` makes of an object's bytes, piece by piece; it may have to begin anew."""
        return self._ask(key, lambda client, store: take(map(bytes, client.get(store, key).stream(PIECE_BYTES))))

    def put(self, key: str, data: bytes | BinaryIO) -> None:
        """Write an object whole, in parts that are put together by the store if it is large."""

        def put(client: Any, store: Any) -> None:
            if not isinstance(data, bytes):
                data.seek(0)
            client.put(store, key, data, chunk_size=PIECE_BYTES)

        self._ask(key, put)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless one is there; return whether this call made it."""
        writer = uuid.uuid4().hex
        mark = {WRITER: writer}
        try:
            self._ask(key, lambda client, store: client.put(store, key, data, mode="create", attributes=mark))
        except FileExistsError:
            # Perhaps our own: the first try came through, and only its answer was lost.
            return bool(self._ask(key, lambda client, store: client.get(store, key).attributes.get(WRITER) == writer))
        return True

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; they need not be there."""
        if keys:
            self._ask("", lambda client, store: client.delete(store, list(keys)))

    def list(self, prefix: str, *, most: int | None = None) -> list[str]:
        """Return the keys below a folder, or some of them."""

        def collect(client: Any, store: Any) -> list[str]:
            pages = client.list(store, prefix or None, chunk_size=most or 1000)
            return [item["path"] for item in itertools.islice(itertools.chain.from_iterable(pages), most)]

        return self._ask(prefix, collect)

    def check(self, prefix: str) -> None:
        """Raise InputError where the bucket cannot be reached or looked into; asked with little patience."""
        try:
            store = connect(self.name, FIRST_PATIENCE_SECONDS)
            ask(self.url(prefix), lambda: next(iter(_client().list(store, prefix or None, chunk_size=1)), None))
        except StorageFailed as error:
            raise InputError(str(error)) from error

    def _ask(self, key: str, call: Callable[[Any, Any], Result]) -> Result:
        store = connect(self.name, PATIENCE_SECONDS)
        return ask(self.url(key), lambda: call(_client(), store))


def _client() -> Any:
    import obstore  # optional: only for who has a bucket; connect() says so in words

    return obstore
