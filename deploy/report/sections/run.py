"""Where the catalogue comes from: how long it took, from what, by what, and the job behind it."""

from __future__ import annotations

import skymetal
from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.markup import Markup, element
from skymetal.deploy.report.sections.parts import absent, code, listing, paragraph, section, table
from skymetal.deploy.report.timing import StepTime
from skymetal.deploy.report.words import NOTHING, count, counted, duration, galaxies, rate


def throughput(facts: RunFacts) -> Markup:
    """Return the time of each step."""
    title = "Time"
    if not facts.times:
        return section("time", title, absent("There is no event of a finished step, so nothing is known of times."))
    total = sum(time.seconds for time in facts.times)
    rows = [
        [
            code(time.step),
            f"{duration(time.seconds)}{'*' if time.went_on else ''}",
            count(time.num_galaxies) if time.num_galaxies else NOTHING,
            rate(time.galaxies_per_second) if time.galaxies_per_second else NOTHING,
            _workers(time),
        ]
        for time in facts.times
    ]
    note = f"{duration(total)} together, starting workers included; each step as it was first done."
    if any(time.went_on for time in facts.times):
        note += " * This command went on with what an earlier one had begun; the earlier one's time is not known."
    header = ["step", "time", "galaxies", "galaxies a second", "of each worker"]
    return section("time", title, table(header, rows, says="Time a step"), paragraph(note, kind="note"))


def provenance(facts: RunFacts) -> Markup:
    """Return versions, digests and the job."""
    properties = facts.catalog.properties
    pairs: list[tuple[str, str]] = [
        ("catalogue", f"{facts.catalog.name}, version {facts.catalog.version}"),
        ("published by", f"skymetal {properties.get('skymetal_version', NOTHING)}"),
        ("report by", f"skymetal {skymetal.__version__}"),
    ]
    if facts.store:
        spec = facts.store.image_spec
        cutouts = [f"{spec.size_pix} × {spec.size_pix}", *spec.bands, spec.stretch, spec.size_rule, spec.dtype]
        pairs.append(("cutouts", f"{spec.survey}: {', '.join(cutouts)}"))
    if facts.ensemble:
        own = "trained by this run" if facts.ensemble.is_own else "trained before"
        networks = f"{facts.ensemble.num_members} members, recipe {facts.ensemble.recipe}, {own} on "
        pairs.append(("networks", networks + galaxies(len(facts.ensemble.label_N))))
        pairs.append(("trained with", facts.ensemble.software))
    digests = {
        "target list": facts.targets.digest,
        "cutout store": facts.store.digest if facts.store else "",
        "ensemble": facts.ensemble.digest if facts.ensemble else "",
        "scoring pass": properties.get("skymetal_run", ""),
        "its parts": properties.get("skymetal_manifest_digest", ""),
    }
    pairs += [(name, code(value)) for name, value in digests.items() if value]
    job = element("details", element("summary", "The job, every default written out"), element("pre", facts.job_toml))
    return section("provenance", "Where it comes from", listing(pairs), _first_quarantined(facts), job)


def _first_quarantined(facts: RunFacts) -> Markup:
    first = facts.quarantine.first
    if not first:
        return Markup()
    rest = facts.quarantine.num_galaxies - len(first)
    words = f"{galaxies(facts.quarantine.num_galaxies)} in quarantine{f', the first {len(first)}' if rest else ''}"
    return element(
        "details",
        element("summary", words),
        table(["object_id", "source", "reason"], first, says="Galaxies in quarantine", num_words=3),
    )


def _workers(time: StepTime) -> str:
    rates = time.worker_rates
    if not rates:
        return NOTHING
    low, high = rate(rates[0]), rate(rates[-1])
    return f"{counted(len(rates), 'worker')}: {low if low == high else f'{low} to {high}'}"
