"""The way to a bucket: who we are, how long we try, and what a refusal means, in words.

Who we are comes from where every program of this kind takes it: the environment (AWS_ACCESS_KEY_ID, …), the shared
credentials and config files, or the machine's own role. Nothing of it is kept, logged or sent to a worker.
"""

from __future__ import annotations

import configparser
import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from skymetal.catalogs.errors import InputError, StorageFailed, first_line

if TYPE_CHECKING:
    from obstore.store import S3Store

Result = TypeVar("Result")

PATIENCE_SECONDS = 180.0
"""How long a request is tried again where the network is down or the store is too busy; then the run stops."""
FIRST_PATIENCE_SECONDS = 5.0
"""The same at the door, where a wrong address is likelier than a store that is down."""
PAUSES_SECONDS = (0.1, 0.5, 2.0, 5.0, 10.0)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FROM_FILES = {"aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key"}


@lru_cache(maxsize=8)
def connect(bucket: str, patience_seconds: float) -> S3Store:
    """Return the client of a bucket, one a process; nothing is sent yet.

    Raises InputError where the client is not installed, or the endpoint is not one to send data to.
    """
    try:
        from obstore.store import S3Store  # optional: only for who has a bucket
    except ImportError:
        raise InputError(f"s3://{bucket} needs the client for object stores: pip install 'skymetal[s3]'") from None
    settings = _settings_of_files()
    return S3Store(
        bucket,
        config=settings,  # type: ignore[arg-type]
        client_options={"allow_http": _may_be_plain(endpoint_of(settings)), "connect_timeout": "5s", "timeout": "300s"},
        retry_config={
            "max_retries": 100,  # the time is what counts
            "retry_timeout": timedelta(seconds=patience_seconds),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=10), "base": 2},
        },
    )


def endpoint_of(settings: dict[str, str]) -> str:
    """Return the address of the store, empty for Amazon's own."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), settings.get("endpoint", ""))


def _may_be_plain(endpoint: str) -> bool:
    """Tell whether the address is http and may be; raise InputError for one that is not this machine's.

    Whoever listens on the way would see every byte.
    """
    parts = urlsplit(endpoint)
    if endpoint and (parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc):
        raise InputError("AWS_ENDPOINT_URL must be https://host or https://host:port, without a user or password")
    if parts.scheme != "http":
        return False
    if parts.hostname not in _LOOPBACK and os.environ.get("AWS_ALLOW_HTTP", "").lower() not in ("1", "true"):
        raise InputError(
            f"the object store's address {endpoint} is not encrypted; give an https one in AWS_ENDPOINT_URL, or, in a "
            "network that you trust, set AWS_ALLOW_HTTP=true"
        )
    return True


def _settings_of_files() -> dict[str, str]:
    """Return what the environment leaves open and the shared files of the AWS tools say: keys, region, endpoint."""
    profile = os.environ.get("AWS_PROFILE", "default")
    credentials = _section("AWS_SHARED_CREDENTIALS_FILE", "credentials", profile)
    config = _section("AWS_CONFIG_FILE", "config", profile if profile == "default" else f"profile {profile}")
    found: dict[str, str] = {}
    if "AWS_ACCESS_KEY_ID" not in os.environ:
        keys = credentials if "aws_access_key_id" in credentials else config
        found |= {ours: keys[theirs] for theirs, ours in _FROM_FILES.items() if theirs in keys}
        if found and "aws_session_token" in keys:
            found["session_token"] = keys["aws_session_token"]
    if not os.environ.get("AWS_REGION") and not os.environ.get("AWS_DEFAULT_REGION"):
        found["region"] = config.get("region", "us-east-1")
    address = endpoint_of({"endpoint": config.get("endpoint_url", "")})
    return found | ({"endpoint": address} if address else {})


def _section(variable: str, name: str, section: str) -> dict[str, str]:
    path = Path(os.environ.get(variable) or Path("~/.aws") / name).expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser[section]) if parser.has_section(section) else {}
    except (configparser.Error, OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read as a file of the AWS tools; mend it, or use the environment") from None


class _AnswerCut(StorageFailed):
    """The store did what it was asked, or will when it is asked again: only its answer ended too soon."""


def ask(url: str, call: Callable[[], Result]) -> Result:
    """Return what the client says, asking again a few times where the answer was cut, which the client does not.

    Raises as :func:`told_as_ours` does.
    """
    for pause in PAUSES_SECONDS:
        try:
            with told_as_ours(url):
                return call()
        except _AnswerCut:
            time.sleep(pause)
    with told_as_ours(url):
        return call()


@contextmanager
def told_as_ours(url: str) -> Iterator[None]:
    """Turn the client's errors into FileNotFoundError, FileExistsError or StorageFailed, naming the URL."""
    from obstore import exceptions as client  # connect() has found it

    try:
        yield
    except (client.AlreadyExistsError, client.PreconditionError) as error:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), url) from error
    except (client.NotFoundError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and error.errno is not None:
            raise  # this machine's disk
        if "NoSuchBucket" in str(error):
            raise StorageFailed(_sentence(url, error)) from error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from error
    except (client.PermissionDeniedError, client.UnauthenticatedError) as error:
        raise StorageFailed(
            f"{url}: access was denied; check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, or the machine's role) "
            "and what they may do with this bucket"
        ) from error
    except (client.BaseError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # this machine's disk
        if "response body" in str(error):
            sentence = f"{url}: the store's answers are cut short; check the network, then run the same again"
            raise _AnswerCut(sentence) from error
        raise StorageFailed(_sentence(url, error)) from error


def _sentence(url: str, error: Exception) -> str:
    text = str(error)
    if "NoSuchBucket" in text:
        return f"{url}: there is no such bucket; make it, or mend the URL"
    if "169.254." in text:  # where a machine of Amazon's would be asked for its role
        return (
            f"{url}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
            "run on a machine with a role"
        )
    if "error sending request" in text or "operation timed out" in text:
        where = endpoint_of({}) or "Amazon S3"
        return f"{url}: {where} cannot be reached; check the network and AWS_ENDPOINT_URL, then run the same again"
    if "SlowDown" in text or "503" in text:
        return f"{url}: the store is too busy, and was for all of the time that we tried; run the same again later"
    return f"{url}: the store failed ({_shortened(first_line(error))}); run the same again"


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:299]}…"
