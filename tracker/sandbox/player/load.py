"""Read a scenario file, and refuse what it says of nobody, or to a server that would pass over it in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tracker.config.yamlfile import read
from tracker.domain.errors import ConfigError
from tracker.sandbox import find
from tracker.sandbox.generic import GenericCarrier
from tracker.sandbox.scenario import Expect, Scenario, Step
from tracker.sandbox.used import CarrierUsed, StoreUsed


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises ConfigError with every problem: file:line:column: key: what to do."""
    document = read(path)
    _find_entries(document.value, path.parent)
    try:
        scenario = Scenario.model_validate(document.value)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            document.problem(tuple(problem["loc"]), problem["msg"].removeprefix("Value error, "))
        raise ConfigError(*document.problems) from None
    for i, step in enumerate(scenario.steps):
        for where, name, known in _named(scenario, step):
            if name not in known:
                document.problem(("steps", i, *where), f"no account or store {name!r}: {', '.join(sorted(known))}")
        for where, said in _ignored(scenario, step):
            document.problem(("steps", i, *where), said)
    for where, said in _absent(scenario):
        document.problem(("steps", *where), said)
    for where, name, known in _expected(scenario, scenario.expect):
        if name not in known:
            document.problem(("expect", *where), f"no account or store {name!r}: {', '.join(sorted(known))}")
    if document.problems:
        raise ConfigError(*document.problems)
    return scenario


def _find_entries(value: Any, folder: Path) -> None:
    """Name the files whose entries are played from the scenario's own folder on."""
    for section in ("accounts", "stores"):
        found = value.get(section) if isinstance(value, dict) else None
        for used in found.values() if isinstance(found, dict) else ():
            for part in (used, used.get("serves")) if isinstance(used, dict) else ():
                if isinstance(part, dict) and isinstance(part.get("entry"), str):
                    part["entry"] = str(folder / part["entry"])


def _named(scenario: Scenario, step: Step) -> Iterator[tuple[tuple[str | int, ...], str, set[str]]]:
    """Name the accounts, stores and servers of a step: where they stand, and which there are."""
    both = {*scenario.accounts, *scenario.stores}
    name, action = step.action
    if name == "expect":
        yield from (((name, *path), called, known) for path, called, known in _expected(scenario, action))
    for field_, known in (("account", set(scenario.accounts)), ("store", set(scenario.stores)), ("server", both)):
        if hasattr(action, field_):
            yield (name, field_), getattr(action, field_), both if name == "wire" else known


def _ignored(scenario: Scenario, step: Step) -> Iterator[tuple[tuple[str, ...], str]]:
    """Name what the server of a step does not know, and would pass over in silence."""
    used: dict[str, CarrierUsed | StoreUsed] = {**scenario.accounts, **scenario.stores}
    name, action = step.action
    whose = next((getattr(action, f) for f in ("account", "store", "server") if hasattr(action, f)), None)
    server = used.get(whose or "")
    if server is None:
        return
    described = isinstance(server, CarrierUsed) and server.serves is not None
    fake = GenericCarrier if described else find.fakes()[server.uses]
    if name == "scan" and action.via == "webhook" and not (fake.pushes and server.webhooks):
        yield (name, "via"), f"{action.account} sends no webhooks: nobody would be told"
    by_files = isinstance(server, CarrierUsed) and server.serves is not None and not server.serves.calls
    if name in ("file", "scan") and by_files is not (name == "file"):
        yield (
            (name, "account"),
            f"{whose} tells by files only: say `file`" if by_files else f"{whose} tells by no files",
        )
    if name == "scan" and not by_files and described is not ("body" in action.model_fields_set):
        yield (name, "body"), "a carrier that `serves` describes needs it, and only such a one"
    said = {name: (name,), **{f"{name}.{field_}": (name, field_) for field_ in action.model_fields_set}}
    if name == "fault":
        said[f"fault {action.kind}"] = (name, "kind")
    for key, where in said.items():
        if key not in fake.knows and (known := find.only().get(key)):
            yield where, f"{server.uses} does not know it: only {', '.join(known)}"


def _absent(scenario: Scenario) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Name the orders that a step speaks of before they are placed, and items and fulfilments that they do not have."""
    items: dict[tuple[str, str], set[str]] = {}
    shipped: set[tuple[str, str]] = set()
    for i, step in sorted(enumerate(scenario.steps), key=lambda one: scenario.moment(one[1].at)):
        name, action = step.action
        if not (hasattr(action, "order") and hasattr(action, "store")):
            continue
        key = (action.store, action.order)
        if name == "place":
            items[key] = {item.ref for item in action.items}
        elif key not in items:
            there = [f"it stands in {store}: say `store: {store}`" for store, order in items if order == action.order]
            said = (
                f"no order {action.order!r} is in {action.store} at that time{'; ' if there else ''}{', '.join(there)}"
            )
            yield (i, name, "order"), said
        elif (item := getattr(action, "item", None)) is not None and item not in items[key]:
            yield (i, name, "item"), f"{action.order} has no item {item!r}: {', '.join(sorted(items[key])) or 'none'}"
        elif name == "edit" and key not in shipped and {"event", "numbers"} & action.model_fields_set:
            yield (i, name), f"nothing of {action.order} was shipped at that time"
        elif name == "ship":
            shipped.add(key)


def _expected(scenario: Scenario, expect: Expect) -> Iterator[tuple[tuple[str | int, ...], str, set[str]]]:
    """Name the servers and stores of an expectation: one that nobody has could never be met, or never fail."""
    for key, call in [("calls", call) for call in expect.calls] + [("most_calls", call) for call in expect.most_calls]:
        yield (key, call), call.partition("/")[0], {*scenario.accounts, *scenario.stores}
    for name in ("writes", "notices", "findings", "drift"):
        for i, one in enumerate(getattr(expect, name) or ()):
            if one.store is not None:
                yield (name, i, "store"), one.store, set(scenario.stores)
