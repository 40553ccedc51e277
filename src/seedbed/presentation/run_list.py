"""Which runs and models a list shows, in which order, and which model is used if none is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seedbed.runs.control import shown_status
from seedbed.runs.models import CORRUPTED, Model
from seedbed.runs.watch import ListedRun


def matches(found: dict[str, Any], query: str) -> bool:
    """Whether every word of the query is part of the run's name, id, status, tags or note; case does not matter."""
    parts = [found["name"], found["id"], found["status"], shown_status(found), *found["tags"], found["note"] or ""]
    searched = " ".join(parts).casefold()
    return all(part in searched for part in query.casefold().split())


def shown_runs(runs: Iterable[ListedRun], query: str = "", *, archived: bool = False) -> list[ListedRun]:
    """The runs that match `query` (see `matches`): live ones first, newest first within each part.

    A run is live if a process works on it or it waits in the queue. Archived runs are included only with `archived`.
    """
    shown = [each for each in runs if (archived or not each.status["archived"]) and matches(each.status, query)]
    return sorted(shown, key=lambda each: (each.lives, each.run.id), reverse=True)


def shown_models(runs: Iterable[ListedRun], *, archived: bool = False) -> list[Model]:
    """The models of the runs, the one trained last first; those of archived runs only with `archived`."""
    shown = [each.model for each in runs if each.model is not None and (archived or not each.status["archived"])]
    return sorted(shown, key=lambda model: (model.trained, model.run.id), reverse=True)


def live_runs(runs: Iterable[ListedRun]) -> list[ListedRun]:
    """The live runs: those that a process works on or that wait in the queue, the newest first."""
    return sorted((each for each in runs if each.lives), key=lambda each: each.run.id, reverse=True)


def default_model(models: Iterable[Model]) -> Model | None:
    """The model to use if none is chosen: the first whose files are not corrupted; None if there is no such model."""
    return next((model for model in models if model.status != CORRUPTED), None)


def counts(runs: Iterable[ListedRun]) -> list[str]:
    """How many of the runs have each status, as texts such as `2 running`."""
    number: dict[str, int] = {}
    for each in runs:
        number[each.status["status"]] = number.get(each.status["status"], 0) + 1
    return [f"{count} {status}" for status, count in number.items()]
