"""YAML of strangers, as plain values."""

import unicodedata
from typing import Any

import yaml

from fusion.errors import InvalidModel, in_words

MAX_DEPTH = 32
"""Entries in one another."""


def read_yaml(text: bytes, name: str, most_bytes: int) -> Any:
    """Return what a YAML file holds.

    Anchors are not read: with aliases, a page of text unfolds to more than a memory holds.

    Args:
        text: the file, UTF-8.
        name: what errors call it.
        most_bytes: its largest size.

    Raises:
        InvalidModel: if it is too large, no YAML, nested too deeply or has aliases.
    """
    if len(text) > most_bytes:
        raise InvalidModel(name, f"is {len(text)} bytes long", f"at most {most_bytes}")
    try:
        return yaml.load(text, _Plain)
    except _Refused as refused:
        raise InvalidModel(name, str(refused)) from None
    except Exception as error:  # dates and numbers that are none raise whatever Python does
        raise InvalidModel(name, f"is not YAML: {in_words(error)}") from None


class _Refused(Exception):
    """YAML that is correct and not taken."""


class _Plain(yaml.SafeLoader):
    """Reads YAML without aliases, down to a bounded depth."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(f"line {line} holds the alias *{event.anchor}: write the value out")
        if self._depth == MAX_DEPTH:
            raise _Refused(f"line {line} is nested more than {MAX_DEPTH} deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        for character in value:
            if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t":
                line = node.start_mark.line + 1
                raise _Refused(f"line {line} holds the character {character!a}")
        return value
