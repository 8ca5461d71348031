"""The server of the page: on 127.0.0.1 alone, for its user alone, and only to read.

Other users of this machine can reach the port, and so can pages of other sites in the user's browser. They do not know
the token in the address; a site whose name was turned to point here is refused by its Host; and no answer may be read,
framed or run by another site.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.errors import InputError, first_line, printable
from skymetal.catalogs.export.export import SUFFIXES, export_rows
from skymetal.catalogs.export.rows import rows_of_table
from skymetal.deploy.serving.cutouts import Cutouts, open_cutouts
from skymetal.deploy.serving.found import find, take
from skymetal.deploy.serving.page import make_page, page_policy
from skymetal.deploy.serving.search import read_search
from skymetal.deploy.serving.texts import in_texts

HOST = "127.0.0.1"
SEARCHES_AT_ONCE = 2
"""Each may take the memory of a query."""
SECONDS_TO_ASK, SECONDS_TO_TAKE = 10.0, 120.0
"""How long a client may keep a request, or a piece of the answer, waiting."""


class CatalogServer(ThreadingHTTPServer):
    """Serves one catalogue, a thread a connection, with pictures where its run has them."""

    request_queue_size = 128

    def __init__(self, catalog: Catalog, *, port: int = 0) -> None:
        """Bind a port, a free one where it is 0. Raises InputError where it cannot be had."""
        self.catalog, self.why_none = catalog, ""
        self.cutouts: Cutouts | None = None
        try:
            self.cutouts = open_cutouts(catalog)
        except InputError as error:
            self.why_none = printable(str(error))
        self.page = make_page(catalog, self.cutouts, why_none=self.why_none)
        self.scratch = tempfile.TemporaryDirectory(prefix="skymetal-", ignore_cleanup_errors=True)
        self.token = secrets.token_urlsafe(24)
        self.searches = threading.Semaphore(SEARCHES_AT_ONCE)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise InputError(f"port {port} cannot be had ({error.strerror}); name another, or none") from error

    @property
    def url(self) -> str:
        """The page's address, which is as good as a password while the server runs."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def server_close(self) -> None:
        """Give the port back, and remove what is half written for a client."""
        super().server_close()
        self.scratch.cleanup()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about clients that went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one GET; every refusal is a line of plain text."""

    timeout = SECONDS_TO_ASK

    @property
    def site(self) -> CatalogServer:
        return cast(CatalogServer, self.server)

    def do_GET(self) -> None:
        """Answer, whatever was asked."""
        self.connection.settimeout(SECONDS_TO_TAKE)
        try:
            self._answer()
        except InputError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (ConnectionError, TimeoutError):
            raise  # nobody is there to be told
        except Exception as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, first_line(error))

    def _answer(self) -> None:
        port, asked_of = self.site.server_port, self.headers.get_all("Host", [])
        path, _, query = self.path.partition("?")
        _, token, rest = (*path.split("/", 2), "", "")[:3]
        if asked_of not in ([f"{HOST}:{port}"], [f"localhost:{port}"]):
            self._refuse(HTTPStatus.FORBIDDEN, f"this is {HOST}:{port}; a tunnel must have that port at both its ends")
        elif not secrets.compare_digest(token.encode(), self.site.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "open the whole address that `skymetal catalog serve` printed")
        elif rest == "":
            self._send(self.site.page, "text/html; charset=utf-8")
        elif rest == "rows":
            self._send_rows(query)
        elif found := re.fullmatch(r"cutout/(-?[0-9]{1,19})\.png", rest):
            self._send_cutout(int(found[1]))
        elif found := re.fullmatch(r"download/([a-z]{1,10})", rest):
            self._send_file(query, form=found[1])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing of that name")

    def _send_rows(self, query: str) -> None:
        search = read_search(query)
        with self.site.searches:
            found = find(self.site.catalog, search)
        self._send(json.dumps(in_texts(found)).encode(), "application/json")

    def _send_cutout(self, object_id: int) -> None:
        png = self.site.cutouts.png(object_id) if self.site.cutouts else None
        if png is None:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no cutout of {object_id}")
        else:
            self._send(png, "image/png", cache="private, max-age=86400, immutable")

    def _send_file(self, query: str, *, form: str) -> None:
        search, catalog = read_search(query), self.site.catalog
        with tempfile.TemporaryDirectory(dir=self.site.scratch.name) as folder:
            path = Path(folder) / "galaxies"
            with self.site.searches:
                table = take(catalog, search)
                properties = {**catalog.properties, "skymetal_search": str(search)}
                export_rows(rows_of_table(table, name=catalog.name, properties=properties), path, form=form)
                del table
            suffix = next(suffix for suffix, name in SUFFIXES.items() if name == form)
            name = re.sub(r"[^\w.-]", "_", catalog.name, flags=re.ASCII) + suffix
            with open(path, "rb") as file:
                self._begin("application/octet-stream", path.stat().st_size, name=name)
                try:
                    shutil.copyfileobj(file, self.wfile)
                except OSError as error:
                    raise ConnectionAbortedError from error  # a file that is cut must not end in words of ours

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send(printable(text).encode(), "text/plain; charset=utf-8", status=status)

    def _send(self, body: bytes, kind: str, **facts: Any) -> None:
        self._begin(kind, len(body), **facts)
        self.wfile.write(body)

    def _begin(
        self, kind: str, size: int, *, status: HTTPStatus = HTTPStatus.OK, cache: str = "no-store", name: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", cache)
        if name:
            self.send_header("Content-Disposition", f'attachment; filename="{name}"')
        self.end_headers()

    def end_headers(self) -> None:
        """Add what every answer says, also those of the library."""
        self.send_header("Content-Security-Policy", page_policy())
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def version_string(self) -> str:
        """Return a name, and no versions."""
        return "skymetal"

    def log_message(self, *_: Any) -> None:
        """Write nothing: the addresses hold the token."""
