"""Large results: fetched whole into a file that has no name, in bounded memory, and then read line by line.

Nobody takes a short file for a whole one: the answer tells its length (or ends as chunks do), the source told it, or it is not taken.
What is cut fails, and is fetched anew: it goes on at no byte of a file that may have become another.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import httpx

from tracker.app.connections import DEADLINE, Connections, of_our_tree
from tracker.domain.errors import NotFound, Refused, Transient

LASTS = 600.0  # seconds that a result may take to come, in all
MOST_BYTES = 4 << 30
MOST_LINE = 1 << 20
_GONE = (400, 401, 403, 404, 410)  # a signed address that ended, or never was (Cloud Storage answers 400 or 403 there)


@contextmanager
def spooled(connections: Connections, origin: str, host: str, url: str, size: int | None) -> Iterator[BinaryIO]:
    """Fetch a result and open it. `size`: its bytes, where they were told. Whoever is killed leaves nothing behind."""
    with tempfile.TemporaryFile(prefix="trackwright-") as file:  # 0600, without a name
        DEADLINE.at = time.monotonic() + LASTS
        http, whole = None, False
        try:
            with of_our_tree(host):
                http = connections.take(origin)
                _fetch(http, host, url, size, file)
                whole = True
        finally:
            DEADLINE.at = float("inf")
            if http is not None:
                connections.give_back(origin, http, keep=whole)
        file.seek(0)
        yield file


def _fetch(http: httpx.Client, host: str, url: str, size: int | None, file: BinaryIO) -> None:
    try:
        request = http.build_request("GET", url)
    except (httpx.InvalidURL, ValueError, TypeError) as error:  # none says what it read: an address may be a credential
        raise Refused(f"{host}: the call cannot be made: {type(error).__name__}") from None
    raw = http.send(request, stream=True)
    try:
        _judge(raw, host)
        told = raw.headers.get("content-length")
        if told is None and size is None and raw.headers.get("transfer-encoding", "").lower() != "chunked":
            raise Transient(f"{host}: nobody tells where the result ends")
        most = min(MOST_BYTES, size if size is not None else MOST_BYTES)
        came = line = 0
        for chunk in raw.iter_raw():
            came += len(chunk)
            first, *more = map(len, chunk.split(b"\n"))
            line += first
            if max(line, *more, 0) > MOST_LINE:
                raise Transient(f"{host}: a line of the result is longer than {MOST_LINE} bytes")
            line = more[-1] if more else line
            if came > most:
                raise Transient(f"{host}: the result is larger than {most} bytes")
            file.write(chunk)
        if size is not None and came != size:
            raise Transient(f"{host}: {came} of {size} bytes came")
    finally:
        raw.close()


def _judge(raw: httpx.Response, host: str) -> None:
    """Raise unless a result comes: the API's own rules do not hold here, and its account is at no fault."""
    status = raw.status_code
    if 300 <= status < 400:
        raise Refused(f"{host} answers with a redirect (HTTP {status}); redirects are not followed")
    if status in _GONE:
        raise NotFound(f"{host}: HTTP {status}: the result is not there any more")
    if status != 200:
        raise Transient(f"{host}: HTTP {status} instead of a result")
    if raw.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Transient(f"{host}: the result came compressed although nobody asked for that")
    if "html" in raw.headers.get("content-type", "").lower():
        raise Transient(f"{host}: a page of HTML came instead of a result")
