from __future__ import annotations

from skymetal.deploy.clusters.versions import CLIENT, SCHEDULER, differences


def test_equal_versions_are_no_news() -> None:
    same = {"python": "3.11", "skymetal": "0.1.0", "MNN": None}
    assert differences({CLIENT: same, SCHEDULER: dict(same), "tls://a:1": dict(same)}) == {}


def test_what_differs_is_named_with_who_has_it() -> None:
    ours = {"skymetal": "0.1.0", "torch": "2.13.0", "MNN": "3.6"}
    told = differences(
        {
            CLIENT: ours,
            SCHEDULER: ours | {"torch": "2.12.0"},
            "tls://a:1": ours | {"torch": "2.12.0", "skymetal": None},
            "tls://b:1": ours | {"torch": "2.11.0"},
        }
    )
    assert told == {
        "skymetal": "skymetal is 0.1.0 on this machine, not installed on tls://a:1; install the same everywhere",
        "torch": "torch is 2.13.0 on this machine, 2.12.0 on the scheduler and 2 more; install the same everywhere",
    }
