"""One command-line option for every field of the execution contract, made from its choices."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from fusion.contract import CHOICES

_PANEL = "Contract fields that override the profile's"
_NONE = "none"


def contract_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every contract field in place of its parameter `overrides`.

    The options are `--reset-timing` for `reset_timing` and so on. `overrides` gets those that were
    given, by field.
    """
    fields = {name: _annotation(values) for name, values in CHOICES.items()}
    fields["v_min"] = Annotated[
        str | None, typer.Option(metavar="NUMBER|none", rich_help_panel=_PANEL)
    ]

    @functools.wraps(command)
    def with_overrides(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in fields}
        overrides = {name: value for name, value in chosen.items() if value is not None}
        if "v_min" in overrides:
            overrides["v_min"] = _bound(overrides["v_min"])
        command(**given, overrides=overrides)

    own = inspect.signature(command).parameters.values()
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in fields.items()
    ]
    parameters = [parameter for parameter in own if parameter.name != "overrides"] + extra
    vars(with_overrides)["__signature__"] = inspect.Signature(parameters)
    with_overrides.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_overrides


def _annotation(values: tuple[Any, ...]) -> Any:
    option = typer.Option(rich_help_panel=_PANEL)
    if isinstance(values[0], bool):
        return Annotated[bool | None, option]
    if isinstance(values[0], int):
        return Annotated[int | None, typer.Option(min=0, max=max(values), rich_help_panel=_PANEL)]
    return Annotated[Literal[values] | None, option]


def _bound(text: str) -> float | None:
    try:
        return None if text == _NONE else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number", param_hint="--v-min") from None
