"""Why a request is refused before anything is done for it.

Refused
├── Unauthenticated   it carries no key, or one that is not good
├── Forbidden         its key is not for this
└── Exhausted         its key has used up a limit
"""

from collections.abc import Mapping


class Refused(Exception):
    """Base of the refusals.

    Args:
        reason: one word for metrics and the audit log.
        detail: what is wrong, for the caller; never holds a key.
        nearest: what would work.
        field: where in the request it is wrong.
        headers: what the reply says besides.
    """

    def __init__(
        self, reason: str, detail: str, nearest: str, field: str, headers: Mapping[str, str]
    ) -> None:
        self.reason = reason
        self.nearest = nearest
        self.field = field
        self.headers = headers
        super().__init__(detail)


class Unauthenticated(Refused):
    """The request carries no key, or one that is not good.

    Args:
        reason: one word for metrics and the audit log.
        detail: what is wrong.
        key_id: the id of the key, if it is known to be the key's holder who asks.
    """

    def __init__(self, reason: str, detail: str, key_id: str | None = None) -> None:
        self.key_id = key_id
        error = "" if reason == "no_key" else ', error="invalid_token"'
        super().__init__(
            reason,
            detail,
            "the header Authorization: Bearer KEY, or X-API-Key: KEY",
            "Authorization",
            {"WWW-Authenticate": f'Bearer realm="snn-fusion"{error}'},
        )


class Forbidden(Refused):
    """The key is good, and not for this.

    Args:
        reason: `scope` or `target`.
        scope: the scope that is missing; None if it is not for want of a scope.
        detail: what is wrong.
        nearest: what would work.
        field: where in the request it is wrong.
    """

    def __init__(
        self, reason: str, scope: str | None, detail: str, nearest: str, field: str
    ) -> None:
        challenge = 'Bearer realm="snn-fusion", error="insufficient_scope"'
        if scope is not None:
            challenge += f', scope="{scope}"'
        super().__init__(reason, detail, nearest, field, {"WWW-Authenticate": challenge})


class Exhausted(Refused):
    """The key has used up one of its limits.

    Args:
        limit: its name in the keys' file.
        used: what was used, with this request.
        allowed: what is allowed.
        retry_after_s: seconds, whole, after which it is worth trying again.
        detail: what is wrong.
    """

    def __init__(
        self, limit: str, used: float, allowed: float, retry_after_s: int, detail: str
    ) -> None:
        self.limit = limit
        self.used = used
        self.allowed = allowed
        self.retry_after_s = retry_after_s
        super().__init__(
            limit,
            detail,
            f"the same again in {retry_after_s} s",
            "Authorization",
            {"Retry-After": str(retry_after_s)},
        )
