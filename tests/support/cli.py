"""The command line, called in this process: one of its own spends a second on imports."""

from contextlib import chdir
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from api.cli import app


def cli(folder: Path, *arguments: str, **environment: str) -> Result:
    """Call `snn-fusion` in a folder with `models`; raises what the command did not foresee."""
    given = {"SNN_FUSION_MODELS_DIR": str(folder / "models"), "COLUMNS": "120", **environment}
    with chdir(folder):
        return CliRunner(env=given).invoke(app, arguments, catch_exceptions=False)
