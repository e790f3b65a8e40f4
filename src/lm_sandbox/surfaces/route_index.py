"""Which routes a path can be of, by the segments that it begins with, without trying all of them."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp, Receive, Scope, Send

# The first segments tell nearly all routes apart.
DEPTH = 4
# Clients choose what is in a path; this is far above what our routes can tell apart.
MOST_KEYS = 4096

Key = tuple[str, ...]


class RouteIndex:
    """ASGI: hands a request to the first route that takes it, as the router would.

    What none takes goes to the router, which says so: unknown paths, other methods, redirects.

    Args:
        router: Has the routes.
        otherwise: The router's own way.
    """

    def __init__(self, router: Router, otherwise: ASGIApp) -> None:
        self._router = router
        self._otherwise = otherwise
        self._beginnings = [(_beginning(getattr(one, "path", "")), one) for one in router.routes]
        self._literals = [
            frozenset(key[place] for key, _ in self._beginnings if place < len(key)) for place in range(DEPTH)
        ]
        self._known: dict[Key, Sequence[BaseRoute]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        # Under a prefix of somebody else's, paths begin with that.
        if scope["type"] != "lifespan" and not scope.get("root_path"):
            for route in self.candidates(scope["path"]):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.update(found, router=self._router)
                    await route.handle(scope, receive, send)
                    return
        await self._otherwise(scope, receive, send)

    def candidates(self, path: str) -> Sequence[BaseRoute]:
        """Returns the routes that a path can be of, in their order."""
        segments = path.split("/", DEPTH + 1)[1 : DEPTH + 1]
        key = tuple(
            one if one in literals else "" for one, literals in zip(segments, self._literals, strict=False)
        )
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_KEYS:
                self._known.clear()
            known = [route for beginning, route in self._beginnings if _can_be(beginning, key)]
            self._known[key] = known
        return known


def _beginning(path: str) -> Key:
    """The first segments of a route's path; an empty one stands for any."""
    key: list[str] = []
    for segment in path.split("/")[1 : DEPTH + 1]:
        if ":" in segment and "{" in segment:
            # It may be many segments.
            break
        key.append("" if "{" in segment else segment)
    return tuple(key)


def _can_be(beginning: Key, key: Key) -> bool:
    return len(beginning) <= len(key) and all(
        own in {"", one} for own, one in zip(beginning, key, strict=False)
    )
