from __future__ import annotations

import logging

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.deploy.jobs.secrets import MaskingFormatter, mask, refuse_credentials


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("s3://key:secret@host/bucket", "s3://***@host/bucket"),
        ("via http://me:pass@proxy:3128 and tls://10.0.0.1:8786", "via http://***@proxy:3128 and tls://10.0.0.1:8786"),
        ("https://:token@host/x", "https://***@host/x"),
        ("https://host:8000/a@b", "https://host:8000/a@b"),
        ("ssh://user@host", "ssh://user@host"),
        ("no url: a:b@c", "no url: a:b@c"),
    ],
)
def test_user_and_password_of_a_url_are_made_unreadable(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_log_line_and_its_traceback_are_masked() -> None:
    try:
        raise OSError("cannot reach http://me:hidden@proxy")
    except OSError as error:
        told = (OSError, error, error.__traceback__)
    record = logging.LogRecord("a", logging.INFO, "f", 1, "via %s", ("http://me:hidden@proxy",), told)
    text = MaskingFormatter("%(message)s").format(record)
    assert "hidden" not in text
    assert text.count("http://***@proxy") == 3  # the line, its cause, and that line of code


@pytest.mark.parametrize("value", ["s3://k:s@b/x", ["a", "http://u:p@h/"], {"object_id": "ftp://u:p@h/"}])
def test_credentials_among_the_values_of_a_job_are_refused_without_being_repeated(value: object) -> None:
    with pytest.raises(InputError, match=r"\[images\] folder has a user name and password in a URL") as caught:
        refuse_credentials("[images]", {"survey": "sdss", "folder": value})
    assert "u:p" not in str(caught.value)
    assert "k:s" not in str(caught.value)
