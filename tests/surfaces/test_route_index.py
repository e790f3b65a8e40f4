"""The index finds what trying every route would find, for any path."""

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from lm_sandbox.config.settings import Settings
from lm_sandbox.surfaces.route_index import MOST_KEYS, RouteIndex
from lm_sandbox.web import create_web_app

APP = create_web_app(Settings(), lambda _: pytest.fail("it is not started"))
ROUTES = APP.router.routes
SEGMENTS = sorted({one for route in ROUTES for one in getattr(route, "path", "").split("/")})
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

segments = st.one_of(
    st.sampled_from(SEGMENTS), st.sampled_from(["", "..", "sb_1", "%2F", "a:b", "é"]), st.text()
)
paths = st.lists(segments, max_size=8).map(lambda found: "/" + "/".join(found))
kinds = st.sampled_from(("http", "websocket"))


def first(routes: list[BaseRoute], scope: Scope) -> BaseRoute | None:
    return next((one for one in routes if one.matches(scope)[0] is Match.FULL), None)


@given(paths, st.sampled_from(METHODS), kinds)
def test_the_index_finds_what_trying_every_route_finds(path: str, method: str, kind: str) -> None:
    index = RouteIndex(APP.router, APP.router.app)
    scope: Scope = {"type": kind, "path": path, "method": method, "headers": []}
    assert first(list(index.candidates(path)), scope) is first(ROUTES, scope)


def test_every_route_is_found_by_its_own_path() -> None:
    index = RouteIndex(APP.router, APP.router.app)
    for route in ROUTES:
        path = getattr(route, "path", "")
        assert route in index.candidates(path.replace("{", "").replace("}", "").replace(":path", "/a/b")), (
            path
        )


def test_few_routes_are_tried_for_a_path() -> None:
    index = RouteIndex(APP.router, APP.router.app)
    assert len(ROUTES) > 100
    assert all(
        len(index.candidates(path)) < 16 for path in ("/healthz", "/v1/models", "/v1/sandboxes/x/commands")
    )


def test_what_it_remembers_does_not_grow_with_what_is_asked_for() -> None:
    router = APIRouter()
    for number in range(40):
        router.add_api_route(f"/a{number}/b{number}/c{number}", lambda: None)
    app = FastAPI()
    app.router.routes.extend(router.routes)
    index = RouteIndex(app.router, app.router.app)
    for number in range(40**3):
        index.candidates(f"/a{number % 40}/b{number // 40 % 40}/c{number // 1600}")
        assert len(index._known) <= MOST_KEYS
