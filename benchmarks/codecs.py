"""Which codec and chunk suit cutouts: size, and cutouts encoded and decoded in a CPU-second.

    python benchmarks/codecs.py --pictures FOLDER       # real pictures; without, simulated ones

Every codec is given a checksum, its own or a trailing CRC-32C: without one, flipped bits decode to wrong pixels.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc
from numcodecs.lz4 import LZ4
from numcodecs.zstd import Zstd
from PIL import Image

from skymetal.catalogs.selection.simulated import simulate_survey
from skymetal.engine.sources.simulated import SimulatedSource

CODECS = {
    "zstd-1": Zstd(level=1, checksum=True),
    "zstd-3": Zstd(level=3, checksum=True),
    "blosc zstd-1 bitshuffle + crc32c": Blosc("zstd", 1, Blosc.BITSHUFFLE),
    "blosc lz4 bitshuffle + crc32c": Blosc("lz4", 1, Blosc.BITSHUFFLE),
    "lz4 + crc32c": LZ4(),
}
CHUNK_SIZES = (16, 64, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder of JPEGs of one size")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    images = np.stack(list(itertools.islice(read(arguments.pictures), 1024)))
    images = images[: len(images) // max(CHUNK_SIZES) * max(CHUNK_SIZES)]
    rows = [measure(images, name, chunk_size) for name in CODECS for chunk_size in CHUNK_SIZES]
    if arguments.json:
        print(json.dumps({"num_pictures": len(images), "size_pix": images.shape[1], "rows": rows}))
        return
    print(f"{len(images)} pictures of {images.shape[1]} pixels\n")
    print(f"{'codec':34s} {'chunk':>5s} {'ratio':>6s} {'encoded/s':>10s} {'decoded/s':>10s}")
    for row in rows:
        print(f"{row['codec']:34s} {row['chunk']:5d} {row['ratio']:6.2f} {row['encoded']:10.0f} {row['decoded']:10.0f}")


def measure(images: np.ndarray, name: str, chunk_size: int) -> dict[str, object]:
    codec, has_checksum = CODECS[name], name.startswith("zstd")
    Blosc.use_threads = False
    chunks = [np.ascontiguousarray(images[first : first + chunk_size]) for first in range(0, len(images), chunk_size)]

    def encode() -> list[bytes]:
        encoded = [bytes(codec.encode(chunk.reshape(-1))) for chunk in chunks]
        return encoded if has_checksum else [data + google_crc32c.value(data).to_bytes(4, "little") for data in encoded]

    encoded = encode()

    def decode() -> None:
        for data in encoded:
            body = data if has_checksum else data[:-4]
            assert has_checksum or google_crc32c.value(body) == int.from_bytes(data[-4:], "little")
            codec.decode(body)

    return {
        "codec": name,
        "chunk": chunk_size,
        "ratio": round(images.nbytes / sum(map(len, encoded)), 3),
        "encoded": round(len(images) / cpu_seconds(encode)),
        "decoded": round(len(images) / cpu_seconds(decode)),
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of the best of three rounds."""
    rounds = []
    for _ in range(3):
        start = time.process_time()
        work()
        rounds.append(time.process_time() - start)
    return min(rounds)


def read(pictures: Path | None) -> Iterator[np.ndarray]:
    if pictures is not None:
        for path in sorted(pictures.glob("*.jp*g")):
            yield np.asarray(Image.open(path).convert("RGB"))
        return
    for cutout in SimulatedSource(size_pix=128, seed=1).read(simulate_survey(num_galaxies=1024, seed=1)):
        if cutout.pixels is not None:
            yield cutout.pixels


if __name__ == "__main__":
    main()
