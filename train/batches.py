"""Batches: a training set's pixels on the device, from the device's own memory where they fit, else read ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RESIDENT_FRACTION = 0.4
"""How much of a GPU's free memory the pixels may take: SDSS's 77 000 galaxies are 3.8 GB."""


class Pixels:
    """Images (N, H, W, C), uint8, to be taken in batches."""

    def __init__(self, images_NHWC: NDArray[np.uint8], device: torch.device) -> None:
        self._images_NHWC = images_NHWC
        self._device = device
        self._resident: Tensor | None = None
        if device.type == "cuda" and images_NHWC.nbytes < RESIDENT_FRACTION * torch.cuda.mem_get_info(device)[0]:
            self._resident = torch.from_numpy(np.array(images_NHWC)).to(device)

    def take(self, rows: NDArray[np.intp]) -> Tensor:
        """Return some images on the device."""
        if self._resident is not None:
            return self._resident[torch.from_numpy(rows).to(self._device)]
        return self._upload(self._images_NHWC[rows])

    def take_in_turn(self, batches: Sequence[NDArray[np.intp]]) -> Iterator[Tensor]:
        """Yield the images of each batch in turn; the next one is read while the caller works on this one."""
        if self._resident is not None:
            yield from map(self.take, batches)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._images_NHWC.__getitem__, batches[0])
            for rows in (*batches[1:], None):
                images_NHWC = ahead.result()
                if rows is not None:
                    ahead = reader.submit(self._images_NHWC.__getitem__, rows)
                yield self._upload(images_NHWC)

    def _upload(self, images_NHWC: NDArray[np.uint8]) -> Tensor:
        images = torch.from_numpy(images_NHWC)
        return images.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else images
