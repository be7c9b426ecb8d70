"""API keys: what one looks like, and what is kept of it.

A key is `snf_ID_SECRET`. The id is public and names the key in files and logs. The secret has 256
random bits, so nobody can guess it, and one SHA-256 of the whole key guards it as well as a slow
hash would (docs/adr/0022).
"""

import secrets
from hashlib import sha256

from fusion.errors import InvalidInput

PREFIX = "snf"
HASH = "sha256"
_DIGEST_DIGITS = 64


def new_key() -> tuple[str, str]:
    """Return the id of a new key, and the key."""
    key_id = secrets.token_hex(6)
    return key_id, f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"


def id_of(key: bytes) -> bytes:
    """Return the id that a key names, empty if it names none."""
    parts = key.split(b"_", 2)
    return parts[1] if len(parts) == 3 else b""


def digest_of(key: bytes) -> bytes:
    """Return the digest of a key, which is compared."""
    return sha256(key).digest()


def hash_of(key: str) -> str:
    """Return what a keys' file holds of a key."""
    return f"{HASH}:{digest_of(key.encode()).hex()}"


def read_hash(text: str) -> bytes:
    """Return the digest in what a keys' file holds.

    Raises:
        InvalidInput: if it is no hash.
    """
    name, _, digits = text.partition(":")
    if name == HASH and len(digits) == _DIGEST_DIGITS:
        try:
            return bytes.fromhex(digits)
        except ValueError:
            pass
    # What stands there may be the key itself, so it is not repeated.
    raise InvalidInput("hash", f"is not {HASH}: and {_DIGEST_DIGITS} hex digits", "snn-fusion keys")
