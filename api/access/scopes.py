"""What a key may be good for, and which of that every route needs."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from re import Pattern
from typing import Any, TypeVar

_T = TypeVar("_T")

_DECLARED = "needs_scope"
_REMEMBERED = 4096
"""Paths whose routes are remembered."""


class Scope(StrEnum):
    """What a key may be good for."""

    FUSE = "fuse"
    COMPARE = "compare"
    CHECK = "check"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    TARGETS_READ = "targets:read"
    REPOSITORY = "repository"
    METRICS = "metrics"
    HARDWARE = "hardware"
    NONE = "none"


GRANTED = tuple(scope for scope in Scope if scope is not Scope.NONE)
"""What a key may be given; `none` is what an open route needs."""
CHANGES = frozenset({Scope.MODELS_WRITE, Scope.REPOSITORY})
"""Scopes of routes that change something; every request to them is audited."""


def needs(scope: Scope) -> Callable[[_T], _T]:
    """Return a decorator that declares the scope which a handler's route needs."""

    def declare(handler: _T) -> _T:
        setattr(handler, _DECLARED, scope)
        return handler

    return declare


open_to_all = needs(Scope.NONE)
"""Declares that a handler's route needs no key."""


class Undeclared(TypeError):
    """A route says nothing about who may ask it."""


class RouteScopes:
    """Which scope a request needs, by its method and path; matched as the application matches.

    Args:
        routes: the application's routes, in the order in which they are tried.
        documentation: paths of the documentation, which are open.

    Raises:
        Undeclared: naming a route whose handler has neither `needs` nor `open_to_all`.
    """

    def __init__(self, routes: Iterable[Any], documentation: frozenset[str]) -> None:
        self._routes = [_entry(route, documentation) for route in _flat(routes)]
        self._known: dict[tuple[str, str], Scope | None] = {}

    def find(self, method: str, path: str) -> Scope | None:
        """Return the scope that a request needs, None if there is no route for it."""
        key = method, path
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self._search(method, path)
        return self._known[key]

    def methods(self, path: str) -> list[str]:
        """Return the methods that a path's routes know."""
        known = (methods for pattern, methods, _ in self._routes if pattern.match(path))
        return sorted(frozenset().union(*known))

    def _search(self, method: str, path: str) -> Scope | None:
        for pattern, methods, scope in self._routes:
            if method in methods and pattern.match(path):
                return scope
        return None


WEBSOCKET = "WEBSOCKET"
"""Stands for the method of a WebSocket's handshake."""
EVERY_METHOD = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", WEBSOCKET})

_Entry = tuple[Pattern[str], frozenset[str], Scope]


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        included = getattr(route, "original_router", None)  # how FastAPI keeps an included router
        if included is not None:
            yield from _flat(included.routes)
        else:
            yield route


def _entry(route: Any, documentation: frozenset[str]) -> _Entry:
    scope = Scope.NONE if route.path in documentation else _declared(route)
    return route.path_regex, _methods(route), scope


def _methods(route: Any) -> frozenset[str]:
    """Return a route's methods: of a WebSocket its handshake, of a mounted application all."""
    if hasattr(route, "methods"):
        return frozenset(route.methods)
    return frozenset({WEBSOCKET}) if hasattr(route, "endpoint") else EVERY_METHOD


def _declared(route: Any) -> Scope:
    handler = getattr(route, "endpoint", None) or getattr(route, "app", None)
    scope = getattr(handler, _DECLARED, None)
    if not isinstance(scope, Scope):
        raise Undeclared(
            f"the route {route.path} says nothing about who may ask it: decorate its handler with "
            "needs(Scope...) or open_to_all of api.access.scopes"
        )
    return scope
