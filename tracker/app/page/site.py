"""The page as an application: its addresses, who may look, and what each answer says of itself to a browser.

Views are read in threads of their own, so that the receiver, which is on the same loop, waits for none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tracker.app.page.login import LASTS, Sessions, Tries
from tracker.app.page.look import Look, Missing, Shown, View, Wrong
from tracker.app.page.rendering import templates
from tracker.app.page.views import VIEWS
from tracker.app.private import DATABASE_AWAY, MOST_PAIRS, MOST_TEXT, THREADS
from tracker.app.telemetry import place
from tracker.app.tokens import Holder, holder
from tracker.pipeline.context import AppContext

log = structlog.get_logger()
COOKIE = "trackwright"
MOST_ID = 2**63 - 1
STATIC = Path(__file__).parent / "static"
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # so that a browser says by whom a form is sent
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
TITLES = {
    400: "That cannot be meant",
    403: "Not from there",
    404: "Not here",
    405: "Nothing is changed from here",
    503: "The database is away",
}


class Site:
    """The page of one installation. `app` is it, for ASGI."""

    def __init__(self, ctx: AppContext) -> None:
        """Read its templates; nobody looks yet."""
        self.ctx = ctx
        self.sessions, self.tries = Sessions(ctx.now), Tries()
        self.pool = ThreadPoolExecutor(THREADS, "page")
        self._templates = templates()
        css = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("page.css", "picture.css"))
        icon = (STATIC / "icon.svg").read_text(encoding="utf-8")
        self.app = Starlette(
            routes=[
                *(Route(path, self._shown(view, whole=not limited), methods=["GET"]) for path, (_, view, limited) in VIEWS.items()),
                Route("/login", self._login, methods=["GET", "POST"]),
                Route("/logout", self._logout, methods=["POST"]),
                Route("/style.css", _file(css, "text/css; charset=utf-8"), methods=["GET"]),
                Route("/icon.svg", _file(icon, "image/svg+xml"), methods=["GET"]),
            ],
            exception_handlers={HTTPException: self._refused, Exception: self._failed},
            lifespan=self._lives,
        )  # fmt: skip

        self.app.router.redirect_slashes = False  # it would lead to whatever host a request names

    @contextlib.asynccontextmanager
    async def _lives(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        self.pool.shutdown(wait=False, cancel_futures=True)

    # who looks

    def _holder(self, request: Request) -> Holder | None:
        return self.sessions.holder(self.ctx.config.root.page, request.cookies.get(COOKIE, ""))

    async def _login(self, request: Request) -> Response:
        """Show the form, or take what was typed in: a try that fails costs the next one time."""
        if request.method != "POST":
            return self._form(200, "", _local(request.query_params.get("next", "")))
        if not _from_here(request):
            return self._said(403, "This form was sent from another site. Log in from the page itself.", None)
        try:
            given = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), max_num_fields=MOST_PAIRS))
        except ValueError:
            return self._said(400, f"at most {MOST_PAIRS} fields", None)
        where, address = _local(given.get("next", "")), request.client.host if request.client else ""
        if (wait := self.tries.wait(address)) > 0:
            self.ctx.count("tracker_page_logins_total", result="slowed")
            return self._form(429, f"Too many failed tries: wait {int(wait) + 1} s, then try again.", where, wait)
        found = holder(self.ctx.config.root.page, given.get("token", "").strip())
        if found is None:
            failed = self.tries.failed(address)
            log.warning("login_refused", count=failed)
            self.ctx.count("tracker_page_logins_total", result="failed")
            return self._form(401, "The token is wrong.", where)
        self.tries.succeeded(address)
        self.ctx.count("tracker_page_logins_total", result="ok")
        answer = self._go(where)
        # of several proxies the first says how the browser came
        secure = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower() == "https"
        lasts = int(LASTS.total_seconds())
        answer.set_cookie(
            COOKIE, self.sessions.begin(found), max_age=lasts, httponly=True, samesite="strict", secure=secure
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        if not _from_here(request):
            return self._said(403, "This form was sent from another site.", self._holder(request))
        self.sessions.end(request.cookies.get(COOKIE, ""))
        answer = self._go("/login")
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        answer.headers["clear-site-data"] = '"cache"'  # nor does a browser show what it kept to go back to
        return answer

    # what is answered

    def _shown(self, view: View, *, whole: bool) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers the address of a view. `whole`: to those alone who see all."""

        async def answer(request: Request) -> Response:
            seen = self._holder(request)
            if seen is None:
                wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return self._go("/login" if wanted == "/" else f"/login?next={quote(wanted)}")
            if whole and seen.stores is not None:
                return self._said(404, "There is no such page.", seen)
            return await asyncio.get_running_loop().run_in_executor(self.pool, self._look, view, request, seen)

        return answer

    def _look(self, view: View, request: Request, seen: Holder) -> Response:
        """Answer with a view, whatever happens in it."""
        try:
            query, number = _query(request), request.path_params.get("id", 0)
            if number > MOST_ID:
                raise Missing("Nothing has such a number.")
            shown = view(self.ctx, Look(seen, query, number))
            return self._go(shown.instead) if shown.instead else self._page(shown, request.url.path, query, seen)
        except Missing as error:
            return self._said(404, str(error), seen)
        except Wrong as error:
            return self._said(400, str(error), seen)
        except DATABASE_AWAY as error:
            log.warning("request_failed", error=type(error).__name__)
            return self._said(
                503,
                "Nothing can be read from it now. Webhooks are answered 503, so that their senders come again.",
                seen,
            )
        except Exception as error:
            return self._defect(error, seen)

    def _page(self, shown: Shown, here: str, query: Mapping[str, str], seen: Holder) -> Response:
        values = dict(shown.values)
        if "picture" in values:
            drawn = {name: values[name] for name in ("picture", "title", "desc")}
            values["drawn"] = self._templates.picture(alone=False, **drawn)
        return self._html(200, shown.template, seen, here=here, query=query, **values)

    def _html(self, status: int, template: str, seen: Holder | None, **values: object) -> Response:
        views = [
            (path, name)
            for path, (name, _, limited) in VIEWS.items()
            if name and seen and (limited or seen.stores is None)
        ]
        values = {"here": "", "query": {}, **values, "holder": seen, "views": views, "now": self.ctx.now()}
        return Response(self._templates.page(template, values), status, HEADERS, "text/html")

    def _said(self, status: int, said: str, seen: Holder | None) -> Response:
        return self._html(status, "said.html", seen, title=TITLES.get(status, "A defect of ours"), said=said)

    def _form(self, status: int, said: str, where: str, wait: float = 0.0) -> Response:
        answer = self._html(status, "login.html", None, said=said, next=where)
        if wait:
            answer.headers["retry-after"] = str(int(wait) + 1)
        return answer

    def _go(self, where: str) -> Response:
        return RedirectResponse(where, 303, HEADERS)

    def _defect(self, error: Exception, seen: Holder | None) -> Response:
        known_by = secrets.token_hex(6)
        log.error("request_failed", id=known_by, error=type(error).__name__, at=place(error))
        return self._said(500, f"The log tells of it as {known_by}.", seen)

    async def _refused(self, request: Request, error: Exception) -> Response:
        """Answer what no address of ours takes."""
        assert isinstance(error, HTTPException)
        said = (
            "There is no such page."
            if error.status_code == 404
            else "Here one looks: there is GET, and the forms to log in and out."
        )
        answer = self._said(error.status_code, said, self._holder(request))
        answer.headers.update(error.headers or {})
        return answer

    async def _failed(self, request: Request, error: Exception) -> Response:
        return self._defect(error, None)


def _file(text: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return Response(text, 200, HEADERS, kind)

    return answer


def _query(request: Request) -> dict[str, str]:
    """Return the parameters of an address. Raises Wrong for what no name, word or number can be."""
    pairs = request.query_params.multi_items()
    if len(pairs) > MOST_PAIRS:
        raise Wrong(f"at most {MOST_PAIRS} parameters")
    for name, value in pairs:
        if len(name) + len(value) > MOST_TEXT:
            raise Wrong(f"a parameter has more than {MOST_TEXT} characters")
        odd = {"\0", "\N{REPLACEMENT CHARACTER}"} & {*name, *value}
        if odd or not (name == "q" or (name + value).isprintable()):  # a number may hold signs that nobody sees
            raise Wrong("a parameter holds a control character, or is not UTF-8")
    return {name: value for name, value in pairs if value}


def _local(where: str) -> str:
    """Return an address of ours, whatever is given: nobody is led elsewhere."""
    plain = (
        where.startswith("/")
        and not where.startswith(("//", "/\\", "/login"))
        and where.isprintable()
        and len(where) <= MOST_TEXT
    )
    return where if plain and "\\" not in where else "/"


def _from_here(request: Request) -> bool:
    """Say whether a form was sent by a page of ours, as browsers tell; what is no browser tells nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
