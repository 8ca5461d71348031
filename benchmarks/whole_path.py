"""Time every step of the path on a simulated survey: python benchmarks/whole_path.py --galaxies 1000 --json"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=1000)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        assignments = [f"targets.num_galaxies={arguments.galaxies}", *arguments.set]
        command = [sys.executable, "-m", "skymetal", "demo", "--out", str(out)]
        subprocess.run(
            [*command, *(word for text in assignments for word in ("--set", text))],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    seconds = {event["step"]: event["seconds"] for event in events if event["event"] == "ended"}
    if arguments.json:
        print(json.dumps({"num_galaxies": arguments.galaxies, "seconds": seconds}))
        return
    for step, time in seconds.items():
        print(f"{step:9s} {time:8.1f} s   {arguments.galaxies / time:10.1f} galaxies/s")


if __name__ == "__main__":
    main()
