"""What a description is told before it is used: placeholders that nobody fills, paths that find nothing in the samples it names."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Unread
from tracker.plugin.contracts import Remark
from tracker.plugin.described import HEADER, Basic, Call, Described, places, read_login
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import decode


def unfilled(where: tuple[str | int, ...], template: Any, known: Iterable[str]) -> Iterator[Remark]:
    """Tell of placeholders that nobody fills."""
    allowed = sorted(known)
    for place in dict.fromkeys(places(template)):
        if place not in allowed:
            yield Remark(where, f"nothing is called {{{place}}} here: {', '.join(allowed) or 'nothing is given'}")


class Asked(NamedTuple):
    """A call of a description, what it is given, and what it must say: of each, one of several words (`a|b`)."""

    call: Call
    given: Iterable[str]
    needs: Iterable[str]


def calls_are_filled(settings: Described, calls: Mapping[tuple[str, ...], Asked]) -> Iterator[Remark]:
    """Tell of placeholders of a description that nobody fills, of calls that lack what they are about, of headers that are none."""
    secrets = set(settings.secrets)
    token = {"token"} if settings.login is not None else set()
    yield from _headers((), settings.headers)
    for place in ("headers", "query"):
        for name, template in getattr(settings, place).items():
            yield from unfilled((place, name), template, secrets | token if place == "headers" else secrets)
    yield from _basic((), settings.basic, secrets)
    if settings.login is not None:
        yield from _filled(("login",), Asked(settings.login, (), ()), secrets, secrets)
        yield from _basic(("login",), settings.login.basic, secrets)
        all_headers = [settings.headers, *(asked.call.headers for asked in calls.values())]
        if not any("token" in places(headers) for headers in all_headers):
            yield Remark(("login",), "nothing uses its {token}: a header should, such as Authorization: Bearer {token}")
    for where, asked in calls.items():
        yield from _filled(where, asked, secrets, secrets | token)
        for need in asked.needs:
            if not any(asked.call.says(one) for one in need.split("|")):
                yield Remark(where, f"says nowhere which it is about: it needs {{{need.replace('|', '} or {')}}}")


def _filled(where: tuple[str, ...], asked: Asked, secrets: set[str], in_headers: set[str]) -> Iterator[Remark]:
    call, mine = asked.call, set(asked.given)
    alone = mine - {"number"} if "numbers" in mine else mine  # one of several stands in a list of a body only
    yield from unfilled((*where, "path"), call.path, alone)
    yield from _headers(where, call.headers)
    for part, allowed in (
        ("query", secrets | alone),
        ("headers", in_headers | (mine & {"once"})),
        ("form", secrets | alone),
    ):
        for name, template in getattr(call, part).items():
            yield from unfilled((*where, part, name), template, allowed)
    yield from unfilled((*where, "body"), _without_repeated(call.body) if alone != mine else call.body, secrets | alone)
    if call.form and call.body is not None:
        yield Remark((*where, "form"), "a call has a form or a body, not both")


def _without_repeated(template: Any) -> Any:
    """Return a body without its lists of one element, which are filled once a number."""
    if isinstance(template, Mapping):
        return {name: _without_repeated(inner) for name, inner in template.items()}
    if isinstance(template, list):
        if len(template) == 1 and "number" in set(places(template)):
            return [place.join("{}") for place in places(template) if place != "number"]
        return [_without_repeated(inner) for inner in template]
    return template


def _basic(where: tuple[str, ...], basic: Basic | None, secrets: set[str]) -> Iterator[Remark]:
    for name, template in (basic.model_dump() if basic is not None else {}).items():
        yield from unfilled((*where, "basic", name), template, secrets)


def _headers(where: tuple[str, ...], headers: Mapping[str, str]) -> Iterator[Remark]:
    for name, value in headers.items():
        if not HEADER.fullmatch(name) or not (value.isascii() and value.isprintable()):
            yield Remark(
                (*where, "headers", name),
                "is no header: a name of letters, digits and -, and a value of printable ASCII",
            )


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


def never_told(settings: Described, files: Iterable[str], judged: Reading) -> Iterator[Remark]:
    """Tell of `not_found` and `error` where no sample is such an answer; one that tells the first is never the second."""
    for place in ("not_found", "error"):
        path = getattr(settings, place)
        if path is not None and id(path) not in judged.found:
            known = place == "error" and settings.not_found is not None
            but = " (one at which `not_found` stands is no error)" if known else ""
            yield Remark((place,), f"finds nothing in the sample {', '.join(files)}{but}")


def sampled(
    where: tuple[str | int, ...],
    files: Iterable[str],
    read: Callable[[str], bytes],
    use: Callable[[bytes], Iterable[Unread]],
) -> Generator[Remark, None, bool]:
    """Read samples with `use`, and tell what cannot be read of them.

    Returns whether each was: where one was not, paths that found nothing were not tried, and nothing is to be said of them.
    """
    readable = True
    for file in files:
        try:
            for one in use(read(file)):
                yield Remark((*where, "sample"), f"{file}: {one.where}: {one.problem}")
        except OSError as error:
            readable = False
            yield Remark((*where, "sample"), f"{file}: {error}")
        except BadPayload as error:
            readable = False
            yield Remark((*where, "sample"), f"{file}: {error.where}: {error.problem}")
    return readable


def login_of_samples(settings: Described, read: Callable[[str], bytes]) -> Iterator[Remark]:
    """Read the samples of the login, where there is one."""
    login = settings.login
    if login is None:
        return
    reading = Reading()

    def use(body: bytes) -> Iterable[Unread]:
        read_login(login, decode(body), reading)
        return ()

    if (yield from sampled(("login",), login.sample, read, use)):
        yield from unmatched(login, ("login",), login.sample, reading)
