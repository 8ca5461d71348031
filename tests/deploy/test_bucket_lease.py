"""One writer at a time in a bucket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from skymetal.catalogs.errors import InputError, StorageFailed
from skymetal.catalogs.storage import ObjectFolder
from skymetal.deploy import bucket_lease
from skymetal.deploy.bucket_lease import LEASE, hold_lease

pytestmark = pytest.mark.slow

HOLD = """
import sys, time
from skymetal.catalogs.storage import open_folder
from skymetal.deploy.bucket_lease import hold_lease
with hold_lease(open_folder(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_lease_is_held_by_one_and_given_back(objects: ObjectFolder) -> None:
    words = rf"another skymetal \(process {os.getpid()} on .*\) is at work in s3://"
    with hold_lease(objects), pytest.raises(InputError, match=words), hold_lease(objects):
        pass
    assert not objects.exists(LEASE)
    assert objects.files() == []


def test_that_of_a_process_killed_on_this_machine_is_taken_over_at_once(objects: ObjectFolder) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(objects)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"process {holder.pid} on "), hold_lease(objects):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=30)
    with hold_lease(objects):
        assert json.loads(objects.read(LEASE))["pid"] == os.getpid()


def test_that_of_another_machine_is_taken_over_when_it_has_not_been_renewed_for_long(
    objects: ObjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.write(LEASE, b'{"pid": 1, "host": "elsewhere", "machine": "another"}')
    with pytest.raises(InputError, match=r"process 1 on elsewhere\) is at work"), hold_lease(objects):
        pass
    monkeypatch.setattr(bucket_lease, "STALE_SECONDS", 1.0)
    time.sleep(2.1)  # the store's clock shows seconds
    with hold_lease(objects):
        assert json.loads(objects.read(LEASE))["pid"] == os.getpid()


def _hold_until_it_is_lost(objects: ObjectFolder) -> None:
    with hold_lease(objects):
        deadline = time.monotonic() + 20
        while json.loads(objects.read(LEASE))["number"] < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert json.loads(objects.read(LEASE))["number"] >= 3
        objects.write(LEASE, b'{"token": "of another"}')
        time.sleep(30)


def test_a_lease_is_renewed_and_its_loss_stops_the_run(objects: ObjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_lease, "RENEW_SECONDS", 0.1)
    with pytest.raises(StorageFailed, match="another process has taken over; this one stops"):
        _hold_until_it_is_lost(objects)
    assert json.loads(objects.read(LEASE)) == {"token": "of another"}
