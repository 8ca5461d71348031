from __future__ import annotations

import dataclasses
import threading

from support import brightness

from skymetal.engine.predict import Predictor, PredictorRef


def test_a_predictor_is_loaded_once_a_process() -> None:
    calls: list[str] = []

    def load(path: str, **settings: object) -> Predictor:
        calls.append(path)
        return brightness.BrightnessPredictor(num_views=2)

    first = dataclasses.replace(brightness.ref(), load=load)
    threads = [threading.Thread(target=first.open) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert calls == ["none"]
    assert first.open() is first.open()


def test_another_predictor_takes_the_place_of_the_first() -> None:
    first: PredictorRef = brightness.ref()
    second = dataclasses.replace(first, digest="other")
    one = first.open()
    assert second.open() is second.open()
    assert first.open() is not one
