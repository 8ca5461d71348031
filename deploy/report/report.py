"""report: a run as one page that can be looked at anywhere, kept beside its catalogue."""

from __future__ import annotations

from skymetal.deploy import run_directory as names
from skymetal.deploy.console import say
from skymetal.deploy.kept import keep, recall
from skymetal.deploy.report.facts import gather_facts
from skymetal.deploy.report.page import render_page
from skymetal.deploy.report.summary import summarise
from skymetal.deploy.run import Run

STEP = "report"


def report(run: Run) -> None:
    """Write ``report.html``, whole or not at all; where nothing has changed since, it is left as it is."""
    facts = gather_facts(run)
    folder, inputs = run.directory.folder, facts.inputs()
    said = recall(folder, STEP, inputs)
    if said is None:
        summary = summarise(facts.catalog, facts.targets, label=facts.label)
        folder.write(names.REPORT, render_page(facts, summary))
        said = [f"report: {run.folder}/{names.REPORT}"]
        keep(folder, STEP, inputs, said=said, files=[names.REPORT])
    for line in said:
        say(line)
