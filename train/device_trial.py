"""A trial of a device, in a process of its own: ``python -m skymetal.train.device_trial`` prints what it computed on.

A driver that hangs or crashes takes this process along, and not a worker.
"""

from __future__ import annotations

import json

import torch

SIZE = 512


def main() -> None:
    """Multiply two matrices on the first GPU that is visible, and print its name and memory as JSON."""
    device = torch.device("cuda")
    ones = torch.ones(SIZE, SIZE, device=device)
    if float((ones @ ones).sum()) != SIZE**3:
        raise RuntimeError("it computes wrong sums")
    properties = torch.cuda.get_device_properties(device)
    print(json.dumps({"name": properties.name, "memory_bytes": properties.total_memory}))


if __name__ == "__main__":
    main()
