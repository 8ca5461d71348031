"""Placement: which workers train which fold together. Pure functions of names and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One fold and the workers of its ranks, by address; rank r runs on workers[r]."""

    fold: int
    workers: tuple[str, ...]


def place(
    folds: Sequence[int], free_hosts: Mapping[str, str], *, ranks_per_fold: int, max_ranks: int
) -> list[Placement]:
    """Place as many folds, in order, as the free workers allow.

    free_hosts says on which host each free worker is. A fold gets ranks_per_fold workers, fewer only where the
    whole of them are fewer; 0 shares all free workers out evenly, more to the first. None gets more than max_ranks:
    each rank needs images of every batch. A gang spreads over as few hosts as can be.
    """
    left = {worker: free_hosts[worker] for worker in sorted(free_hosts)}
    waiting, placements = list(folds), list[Placement]()
    while waiting and left:
        wanted = min(ranks_per_fold or -(-len(left) // len(waiting)), max_ranks)
        if len(left) < wanted and placements:
            break
        chosen = _nearest(left, min(wanted, len(left)))
        placements.append(Placement(fold=waiting.pop(0), workers=chosen))
        for worker in chosen:
            del left[worker]
    return placements


def _nearest(hosts: Mapping[str, str], number: int) -> tuple[str, ...]:
    by_host: dict[str, list[str]] = {}
    for worker, host in hosts.items():
        by_host.setdefault(host, []).append(worker)
    # The smallest host that holds the whole gang, else the largest hosts first.
    whole = [workers for workers in by_host.values() if len(workers) >= number]
    if whole:
        return tuple(min(whole, key=lambda workers: (len(workers), workers))[:number])
    ordered = sorted(by_host.values(), key=lambda workers: (-len(workers), workers))
    return tuple(worker for workers in ordered for worker in workers)[:number]
