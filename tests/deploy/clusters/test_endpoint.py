from __future__ import annotations

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.endpoint import parse_address, refuse_unguarded


@pytest.mark.parametrize(
    ("address", "host", "is_loopback"),
    [
        ("tls://127.0.0.1:8786", "127.0.0.1", True),
        ("tcp://127.9.9.9:1", "127.9.9.9", True),
        ("tls://[::1]:8786", "::1", True),
        ("tcp://localhost:8786", "localhost", True),
        ("tls://gpu01.cluster.org:8786", "gpu01.cluster.org", False),
        ("tls://GPU01:8786", "gpu01", False),
        ("tcp://10.0.0.1:65535", "10.0.0.1", False),
        ("tcp://localhost.evil.org:8786", "localhost.evil.org", False),
        ("tcp://0.0.0.0:8786", "0.0.0.0", False),
    ],
)
def test_an_address_says_where_and_whether_others_reach_it(address: str, host: str, is_loopback: bool) -> None:
    endpoint = parse_address(address, where="it")
    assert (endpoint.host, endpoint.is_loopback) == (host, is_loopback)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host:8786",
        "tls://host",
        "tls://:8786",
        "tls://host:0",
        "tls://host:70000",
        "tls://host:port",
        "ucx://host:8786",
        "http://host:8786",
        "tls://user@host:8786",
        "tls://host:8786/path",
        "tls://host:8786?x=1",
        " tls://host:8786",
        "tls://[::1:8786",
        "inproc://1/2/3",
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match=r"\[cluster\] address must be tls://HOST:PORT"):
        parse_address(address, where="[cluster] address")


@pytest.mark.parametrize(
    ("address", "tls_dir", "insecure", "message"),
    [
        ("tls://host:1", "", False, "speaks TLS, which takes certificates: set .* tls_dir"),
        ("tcp://host:1", "/tls", False, "plain tcp://, but tls_dir is set"),
        ("tcp://host:1", "", False, "whoever reaches that port can run code there"),
    ],
)
def test_nothing_is_spoken_to_off_loopback_without_tls(
    address: str, tls_dir: str, insecure: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        refuse_unguarded(parse_address(address, where="it"), tls_dir=tls_dir, insecure=insecure, where="it")


@pytest.mark.parametrize(
    ("address", "tls_dir", "insecure"),
    [("tls://host:1", "/tls", False), ("tcp://127.0.0.1:1", "", False), ("tcp://host:1", "", True)],
)
def test_tls_loopback_and_a_written_word_are_enough(address: str, tls_dir: str, insecure: bool) -> None:
    refuse_unguarded(parse_address(address, where="it"), tls_dir=tls_dir, insecure=insecure, where="it")
