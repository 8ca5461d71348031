"""A first look at a scheduler before Dask speaks to it: why it would not answer, in a sentence and in time.

Dask itself tries again until its time is up, whatever the reason, and then names only the last of its tries.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from distributed import Security

from skymetal.catalogs.errors import first_line
from skymetal.deploy.clusters.endpoint import Endpoint
from skymetal.deploy.clusters.security import explain

LOOK_SECONDS = 5.0

_ALERTS = {
    "CERTIFICATE_EXPIRED": "it says that our certificate has expired; make new ones with `skymetal cluster certs`",
    "CERTIFICATE_REQUIRED": "it wants a certificate, and none was shown",
    "UNKNOWN_CA": "another authority than its own signed our certificate; copy the same tls_dir to every machine",
    "WRONG_VERSION_NUMBER": "it speaks plain tcp, not TLS; start it with certificates (`skymetal cluster certs`)",
    "RECORD_LAYER_FAILURE": "it speaks plain tcp, not TLS; start it with certificates (`skymetal cluster certs`)",
}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a scheduler does not answer; may_pass where it may yet be started, or come back."""

    reason: str
    may_pass: bool


_CLOSED = Refusal(reason="it closed the connection at once", may_pass=True)


def look_at(endpoint: Endpoint, security: Security | None, *, seconds: float = LOOK_SECONDS) -> Refusal | None:
    """Connect and await the first byte; return None where a scheduler answers that accepts our certificate."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=seconds) as plain:
            if security is None:
                return _await_word(plain)
            context = security.get_connection_args("client")["ssl_context"]
            with context.wrap_socket(plain) as guarded:
                return _await_word(guarded)
    except ssl.SSLCertVerificationError as error:
        return Refusal(reason=f"its certificate is not accepted: {explain(error)}", may_pass=False)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return _CLOSED  # as does a forwarded port until its pod is ready
    except ssl.SSLError as error:
        for alert, reason in _ALERTS.items():
            if alert in (error.reason or ""):
                return Refusal(reason=reason, may_pass=False)
        return Refusal(reason=f"no TLS connection can be made: {first_line(error)}", may_pass=False)
    except TimeoutError:
        return Refusal(reason=f"it does not answer within {seconds:g} s", may_pass=True)
    except socket.gaierror as error:
        return Refusal(reason=f"no host of that name is known here ({error.strerror})", may_pass=True)
    except OSError as error:
        return Refusal(reason=(error.strerror or first_line(error)).lower(), may_pass=True)


def _await_word(connection: socket.socket) -> Refusal | None:
    # A Dask server speaks first; one that wants TLS is silent, as is one that is very busy; one that dislikes our
    # certificate says so only now.
    try:
        said = connection.recv(1)
    except TimeoutError:
        reason = "it takes the connection and says nothing; is it a Dask scheduler, and does it want tls://?"
        return Refusal(reason=reason, may_pass=True)
    return None if said else _CLOSED
