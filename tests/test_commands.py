"""What `make` runs from among the tests: no other test notices at once that it cannot start."""

import re
from importlib import import_module
from pathlib import Path

import pytest

MAKEFILE = (Path(__file__).parents[1] / "Makefile").read_text()
COMMANDS = re.findall(r"PYTHONPATH=\S*tests \$\(BIN\)/python (?:-m |tests/)(\S+)", MAKEFILE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_finds_all_that_it_imports(command):
    module = import_module(command.removesuffix(".py").replace("/", "."))
    assert callable(module.main)


def test_the_commands_are_found():
    assert {"drills.soak", "drills.rolling", "drills/run.py", "support.fuzz_api"} <= set(COMMANDS)
