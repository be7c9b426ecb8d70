"""Where a Redis is, as a URL."""


def check_url(url: str) -> None:
    """Return if a URL says where a Redis is.

    Raises:
        ValueError: saying what is wrong, without the URL, which may hold a password.
    """
    # Imported here: most commands start without a Redis, and sooner without its library.
    from redis.asyncio.connection import parse_url  # noqa: PLC0415

    try:
        parts = parse_url(url)
    except ValueError:
        raise ValueError(
            "is not redis://, rediss:// or unix:// with a host or a path, such as "
            "rediss://user:password@host:6379/0"
        ) from None
    if not {"host", "path"} & parts.keys():
        raise ValueError("names neither a host nor the path of a socket")
