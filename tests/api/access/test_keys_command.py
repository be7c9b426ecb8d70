"""`snn-fusion keys`, as it is called."""

import re

import pytest
import yaml
from support.access import id_in
from typer.testing import CliRunner

from api.access.keys_file import parse_keys
from api.cli import app

NEW = ("new", "--name", "lab", "--scope", "fuse")


@pytest.fixture
def call(monkeypatch):
    monkeypatch.delenv("SNN_FUSION_KEYS_FILE", raising=False)

    def called(*words, **options):
        return CliRunner().invoke(app, ["keys", *map(str, words)], **options)

    return called


def test_a_new_key_is_printed_with_its_entry_and_kept_nowhere(call):
    done = call(*NEW, "--scope", "models:read", "--target", "loihi-*", "--expires", "2027-01-31")
    assert done.exit_code == 0
    key, _, entry = done.stdout.partition("\n\n")
    (made,) = parse_keys(entry.encode(), "printed").values()
    assert made.id == id_in(key)
    assert made.scopes == ("fuse", "models:read")
    assert made.targets == ("loihi-*",)
    assert str(made.expires) == "2027-01-31"
    assert key not in entry


def test_keys_are_added_to_a_file_listed_tried_and_disabled(call, tmp_path):
    file = tmp_path / "keys.yaml"
    first, second = (call(*NEW, "--file", file).stdout.strip() for _ in range(2))
    assert re.fullmatch(r"snf_[0-9a-f]{12}_[\w-]{43}", first)
    assert file.stat().st_mode & 0o077 == 0
    assert first not in file.read_text()
    listed = call("list", "--file", file).stdout
    assert id_in(first) in listed
    assert id_in(second) in listed
    tried = call("check", "--file", file, input=first + "\n")
    assert (tried.exit_code, tried.stdout.splitlines()[0]) == (0, f"{id_in(first)} (lab): good")
    assert call("disable", id_in(first), "--file", file).exit_code == 0
    tried = call("check", "--file", file, input=first)
    assert (tried.exit_code, "disabled" in tried.stdout) == (1, True)
    assert call("check", "--file", file, input=second).exit_code == 0
    assert call("check", "--file", file, input="nonsense").exit_code == 1


def test_the_file_of_the_settings_is_taken_where_none_is_named(call, tmp_path, monkeypatch):
    file = tmp_path / "keys.yaml"
    key = call(*NEW, "--file", file).stdout.strip()
    assert call("list").exit_code == 2
    monkeypatch.setenv("SNN_FUSION_KEYS_FILE", str(file))
    assert id_in(key) in call("list").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("new", "--name", "x", "--scope", "fus"), "'fus' is no scope (try: fuse)"),
        ((*NEW, "--target", "a b"), "'a b' is no name of a target"),
        ((*NEW, "--file", "{broken}"), "has no list called keys"),
        ((*NEW, "--file", "{inline}"), "add this"),
        (("disable", "nope", "--file", "{inline}"), "has no key 'nope'"),
        (("list", "--file", "{none}"), "No such file"),
    ],
)
def test_what_cannot_be_is_one_error_and_changes_no_file(call, tmp_path, words, says):
    files = {name: tmp_path / name for name in ("broken", "inline", "none")}
    files["broken"].write_text("key: []")
    entries = yaml.safe_load(call(*NEW).stdout.partition("\n\n")[2])
    files["inline"].write_text(yaml.safe_dump(entries, default_flow_style=True))
    before = {name: path.read_text() for name, path in files.items() if path.exists()}
    done = call(*(word.format(**files) for word in words))
    assert done.exit_code != 0
    assert says in done.output
    assert "Traceback" not in done.output
    assert {name: path.read_text() for name, path in files.items() if path.exists()} == before
