"""Cancelling: asked for by a file, which the driver finds; where there is no driver, nothing is left to stop."""

from __future__ import annotations

from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs import slurm
from skymetal.deploy.jobs.state import CANCEL, WAITING
from skymetal.deploy.jobs.watch import LOST, holder_of, observe


def cancel(folder: Folder) -> str:
    """Ask a job to stop, whatever its cluster; return what comes of it."""
    view = observe([folder])[0]
    if not view.is_going_on and view.state != LOST:
        return f"{folder} is not at work: it is {view.state}"
    folder.write(CANCEL, b"")
    if view.state == LOST:
        return f"{folder}: {view.reason}, so there is nothing to stop"
    if view.state == WAITING:
        sent = view.submission
        of_slurm = slurm.withdraw_pending(sent.sent_id) if sent and sent.runner == "slurm" and sent.sent_id else ""
        return f"{folder} will not begin{f' ({of_slurm})' if of_slurm else ''}"
    return f"{folder} is told to stop: {holder_of(folder)} does so within seconds"
