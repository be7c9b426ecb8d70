"""YAML of strangers: plain values within bounds, or an error that names what is wrong."""

import pytest

from fusion.errors import InvalidModel
from fusion.yaml_file import MAX_DEPTH, read_yaml

MOST = 2**16
LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\nb: {<<: [*a, *a]}\n"


def test_plain_values_are_read():
    assert read_yaml(b"{a: [1, 2.5, yes, text]}", "f", MOST) == {"a": [1, 2.5, True, "text"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "line 2 holds the alias [*]a"),
        (MERGES, "line 2 holds the alias [*]a"),
        ("&a [*a]", "alias"),
        ("[" * 5000, f"more than {MAX_DEPTH} deep"),
        ("- " * 5000, f"more than {MAX_DEPTH} deep"),
        ("? " * 5000, f"more than {MAX_DEPTH} deep"),
        ("x" * (MOST + 1), "at most 65536"),
        ("a: [1", "is not YAML"),
        ("a: 2001-99-99", "is not YAML: month"),
        ("a: !!int x", "is not YAML"),
        ("a: " + "1" * 5000, "is not YAML"),
        ("!!bool x", "is not YAML"),
        ("!!timestamp x", "is not YAML"),
        ("!!binary x", "is not YAML"),
        ("? [1]\n: 2", "is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("\0", "is not YAML"),
        ('"\\ud800"', "line 1 holds the character"),
        ('"\\e[31m": 1', "line 1 holds the character"),
    ],
)
def test_what_is_harmful_or_wrong_is_told_in_one_line(text, says):
    with pytest.raises(InvalidModel, match=says) as caught:
        read_yaml(text.encode(), "fusion.yaml", MOST)
    assert caught.value.field == "fusion.yaml"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
