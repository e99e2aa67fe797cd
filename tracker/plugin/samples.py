"""What a description is told before it is used: placeholders that nobody fills, paths that find nothing in the samples it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Unread
from tracker.plugin.contracts import Remark
from tracker.plugin.described import Call, Described, places, read_login
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import decode


def unfilled(where: tuple[str | int, ...], template: Any, known: Iterable[str]) -> Iterator[Remark]:
    """Tell of placeholders that nobody fills."""
    allowed = sorted(known)
    for place in dict.fromkeys(places(template)):
        if place not in allowed:
            yield Remark(where, f"nothing is called {{{place}}} here: {', '.join(allowed) or 'nothing is given'}")


def calls_are_filled(
    settings: Described, calls: Mapping[tuple[str, ...], tuple[Call, Iterable[str]]]
) -> Iterator[Remark]:
    """Tell of every placeholder of a description that nobody fills. `calls`: by place, each with what it is given."""
    secrets = set(settings.secrets)
    with_token = secrets | ({"token"} if settings.login is not None else set())
    for place in ("headers", "query", "basic"):
        value = getattr(settings, place)
        for name, template in (value.model_dump() if isinstance(value, BaseModel) else value or {}).items():
            yield from unfilled((place, name), template, with_token if place == "headers" else secrets)
    if settings.login is not None:
        calls = {**calls, ("login",): (settings.login, ())}
        all_headers = [settings.headers, *(call.headers for call, _ in calls.values())]
        if not any("token" in places(headers) for headers in all_headers):
            yield Remark(("login",), "nothing uses its {token}: a header should, such as Authorization: Bearer {token}")
    for where, (call, given) in calls.items():
        mine = set(given)
        yield from unfilled((*where, "path"), call.path, mine)
        for part, allowed in (
            ("query", secrets | mine),
            ("headers", with_token | (mine & {"once"})),
            ("form", secrets | mine),
        ):
            for name, template in getattr(call, part).items():
                yield from unfilled(
                    (*where, part, name), template, allowed - {"token"} if where == ("login",) else allowed
                )
        yield from unfilled((*where, "body"), call.body, secrets | mine)
        if call.form and call.body is not None:
            yield Remark((*where, "form"), "a call has a form or a body, not both")


def paths_of(part: BaseModel, where: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Path]]:
    """Yield each path of a part of a description, with its place."""
    for name in part.model_fields_set:
        value = getattr(part, name)
        if isinstance(value, Path):
            yield (*where, name), value
        elif isinstance(value, BaseModel):
            yield from paths_of(value, (*where, name))


def unmatched(
    part: BaseModel, where: tuple[str | int, ...], files: Iterable[str], reading: Reading
) -> Iterator[Remark]:
    """Tell of paths that found nothing in any of the samples."""
    for place, path in paths_of(part, where):
        if id(path) not in reading.found:
            yield Remark(place, f"finds nothing in the sample {', '.join(files)}")


def sampled(
    where: tuple[str | int, ...],
    files: Iterable[str],
    read: Callable[[str], bytes],
    use: Callable[[bytes], Iterable[Unread]],
) -> Iterator[Remark]:
    """Read samples with `use`, and tell what cannot be read of them."""
    for file in files:
        try:
            for one in use(read(file)):
                yield Remark((*where, "sample"), f"{file}: {one.where}: {one.problem}")
        except OSError as error:
            yield Remark((*where, "sample"), f"{file}: {error}")
        except BadPayload as error:
            yield Remark((*where, "sample"), f"{file}: {error.where}: {error.problem}")


def login_of_samples(settings: Described, read: Callable[[str], bytes]) -> Iterator[Remark]:
    """Read the samples of the login, where there is one."""
    login = settings.login
    if login is None:
        return
    reading = Reading()

    def use(body: bytes) -> Iterable[Unread]:
        read_login(login, decode(body), reading)
        return ()

    yield from sampled(("login",), login.sample, read, use)
    yield from unmatched(login, ("login",), login.sample, reading)
