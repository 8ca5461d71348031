"""Folders in a bucket, against a real S3 server, and against one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from support.s3_server import (
    BUCKET,
    CUT_BODY,
    CUT_REQUEST,
    LOSE_ANSWER,
    SLOW_DOWN,
    Proxy,
    environment,
    free_port,
)

from skymetal.catalogs.errors import InputError, StorageFailed
from skymetal.catalogs.storage import ObjectFolder, copies, open_folder
from skymetal.catalogs.storage import s3 as client

slow = pytest.mark.slow

RACE = """
import sys
from skymetal.catalogs.storage import open_folder
folder = open_folder(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print("".join("01"[folder.put_if_absent(f"receipt{k}", sys.argv[2].encode())] for k in range(50)), flush=True)
"""


@slow
def test_of_two_processes_exactly_one_wins_each_of_fifty_races(objects: ObjectFolder) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(objects), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for name in ("one", "two")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wins = [racer.communicate(timeout=100)[0].strip() for racer in racers]
    assert [int(one) + int(two) for one, two in zip(*wins, strict=True)] == [1] * 50
    for k, won in enumerate(wins[0]):
        assert objects.read(f"receipt{k}") == (b"one" if won == "1" else b"two")


@slow
@pytest.mark.parametrize("wrong", [LOSE_ANSWER, SLOW_DOWN, CUT_REQUEST])
def test_a_write_whose_answer_is_lost_is_still_known_to_be_ours(proxy: Proxy, wrong: str) -> None:
    folder = open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    assert isinstance(folder, ObjectFolder)
    proxy.fault = lambda number, request: wrong if request.command == "PUT" and number % 2 else ""
    assert folder.put_if_absent("receipt", b"ours")
    assert not folder.put_if_absent("receipt", b"ours")
    assert not folder.put_if_absent("receipt", b"another")
    folder.write("file", b"first")
    folder.write("file", b"second")
    assert folder.read("file") == b"second"
    assert folder.read("receipt") == b"ours"
    assert len(proxy.done) >= 3


@slow
@pytest.mark.parametrize("wrong", [LOSE_ANSWER, SLOW_DOWN, CUT_BODY, CUT_REQUEST])
def test_a_large_object_arrives_whole_through_a_store_that_fails(proxy: Proxy, wrong: str) -> None:
    folder = open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    data = os.urandom(1 << 20) * 20
    is_broken: Callable[[str], bool] = lambda command: command == "GET" or wrong != CUT_BODY  # noqa: E731
    proxy.fault = lambda number, request: wrong if number % 2 and is_broken(request.command) else ""
    folder.write("big", data)
    with folder.open_new("pieces") as file:
        file.write(data[:5])
        file.write(data[5:])
    for name in ("big", "pieces"):
        assert folder.read(name) == data
        assert folder.local_copy(name).read_bytes() == data
    assert folder.names("*") == ["big", "pieces"]
    assert proxy.done


@slow
def test_what_is_wrong_for_good_is_said_in_one_sentence_that_names_the_url(
    objects: ObjectFolder, aws: pytest.MonkeyPatch
) -> None:
    aws.setattr("skymetal.catalogs.storage.bucket.PATIENCE_SECONDS", 0.5)
    aws.setattr("skymetal.catalogs.storage.bucket.FIRST_PATIENCE_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"^s3://no-such/run: there is no such bucket; make it, or mend the URL$"):
        open_folder("s3://no-such/run").check()
    with pytest.raises(StorageFailed, match=r"^s3://no-such/run/x: there is no such bucket"):
        open_folder("s3://no-such/run").read("x")
    client.connect.cache_clear()
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:\d+ cannot be reached; check the network"):
        objects.check()
    with pytest.raises(StorageFailed, match=r"/x: http.* cannot be reached"):
        objects.read("x")


@slow
def test_a_store_that_refuses_or_is_always_busy_is_said(proxy: Proxy, aws: pytest.MonkeyPatch) -> None:
    aws.setattr("skymetal.catalogs.storage.bucket.PATIENCE_SECONDS", 0.5)
    folder = open_folder(f"s3://{BUCKET}/run")
    proxy.fault = lambda number, request: SLOW_DOWN
    with pytest.raises(StorageFailed, match=r"^s3://bucket/run/x: the store is too busy, and was for all of the time"):
        folder.write("x", b"")
    refuse(proxy)
    with pytest.raises(StorageFailed, match=r"^s3://bucket/run/x: access was denied; check the credentials"):
        folder.write("x", b"")
    with pytest.raises(StorageFailed, match=r"^s3://bucket/run/x: access was denied"):
        folder.exists("x")


def refuse(proxy: Proxy) -> None:
    """Let the proxy answer 403 to everything."""

    def fault(number: int, request: object) -> str:
        answer = getattr(request, "answer")  # noqa: B009
        answer(403, b"<Error><Code>AccessDenied</Code></Error>", {})
        return CUT_REQUEST

    proxy.fault = fault


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://me:secret@bucket/run", "s3://…@bucket/run holds a user, password or port"),
        ("s3://bucket:9000/run", "holds a user, password or port"),
        ("s3://bucket/run?versionId=1", "is not s3://bucket/path"),
        ("s3://bucket/a/../b", "is not s3://bucket/path"),
        ("s3://bucket/a//b", "is not s3://bucket/path"),
        ("s3:///run", "is not s3://bucket/path"),
        ("gs://bucket/run", "gs://bucket/run: only s3:// URLs and local paths can be folders"),
        ("https://me:secret@host/run", "https://…@host/run: only s3:// URLs"),
    ],
)
def test_a_url_that_cannot_be_a_folder_is_refused_and_shows_no_password(url: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        open_folder(url)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_path_made_of_a_url_is_the_url() -> None:
    assert open_folder(Path("s3://bucket/run")) == open_folder("s3://bucket/run")
    assert str(open_folder("s3://bucket/run/")) == "s3://bucket/run"
    assert str(open_folder("s3://bucket/run").parent) == "s3://bucket"


@pytest.mark.parametrize("address", ["nonsense", "ftp://host", "https://", "https://me:secret@host"])
def test_what_is_no_address_of_a_store_is_refused(aws: pytest.MonkeyPatch, address: str) -> None:
    aws.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(InputError, match=r"^AWS_ENDPOINT_URL must be https://host or https://host:port, without"):
        open_folder("s3://bucket/run").check()


def test_an_address_without_encryption_is_refused_off_this_machine(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_ENDPOINT_URL", "http://store.example.org:9000")
    with pytest.raises(InputError, match=r"address http://store\.example\.org:9000 is not encrypted"):
        open_folder("s3://bucket/run").check()


@slow
def test_keys_come_from_the_files_of_the_aws_tools_too(
    objects: ObjectFolder, s3: str, aws: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        aws.delenv(name)
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = a%b\naws_secret_access_key = c\n")
    (tmp_path / "config").write_text(f"[profile lab]\nregion = eu-west-1\nendpoint_url = {s3}\n")
    aws.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    aws.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    aws.setenv("AWS_PROFILE", "lab")
    objects.write("x", b"1")
    assert objects.read("x") == b"1"
    (tmp_path / "config").write_text("no section = 1\n")
    client.connect.cache_clear()
    with pytest.raises(InputError, match="config cannot be read as a file of the AWS tools"):
        objects.read("x")


@slow
def test_copies_are_of_one_user_and_old_ones_are_deleted(
    objects: ObjectFolder, aws: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aws.setattr("tempfile.tempdir", str(tmp_path))
    objects.write("x", b"1")
    objects.write("y", b"2")
    old = objects.local_copy("x")
    os.utime(old, (0, 0))
    assert objects.local_copy("x") == old
    assert old.stat().st_mtime > copies.KEPT_SECONDS
    os.utime(old, (0, 0))
    objects.local_copy("y")
    assert not old.exists()
    (tmp_path / f"skymetal-{os.getuid()}").chmod(0o777)
    with pytest.raises(InputError, match="others may write to it; name another place in TMPDIR"):
        objects.local_copy("y")


@slow
def test_without_the_client_a_bucket_is_refused_with_what_to_install(s3: str) -> None:
    code = "import sys; sys.modules['obstore'] = sys.modules['obstore.store'] = None\n"
    code += "from skymetal.catalogs.storage import open_folder\nopen_folder('s3://bucket/run').check()"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(s3), timeout=60, check=False
    )
    assert "InputError: s3://bucket needs the client for object stores: pip install 'skymetal[s3]'" in result.stderr
