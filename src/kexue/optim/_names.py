"""Which parameters a rule on names leaves out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from typing import TypeAlias

from torch import Tensor

from kexue._core import InputError

Rule: TypeAlias = "str | Callable[[str | None, Tensor], bool] | None"


def check_rule(rule: Rule) -> None:
    """Raise unless `rule` is None, a regular expression or a function."""
    if rule is None or callable(rule):
        return
    if not isinstance(rule, str):
        raise TypeError(
            "exclude must be None, a regular expression or a function of name and parameter, "
            f"got {rule!r}"
        )
    try:
        re.compile(rule)
    except re.error as error:
        raise InputError(f"exclude must be a regular expression, got {rule!r}: {error}") from error


def matching(
    rule: Rule, params: Iterable[Tensor], names: dict[Tensor, str], of: str
) -> set[Tensor]:
    """Return the parameters that `rule` names.

    Parameters
    ----------
    rule : None, str or callable
        None names none, a regular expression those whose name it is found in, a function
        ``(name, p)`` those for which it is true (name is None where it is not known).
    params : iterable of Tensor
    names : dict from parameter to name
    of : str
        Who asks, for the message.

    Raises
    ------
    InputError
        For a regular expression where a parameter has no name.
    """
    if rule is None:
        return set()
    params = list(params)
    if not isinstance(rule, str):
        return {p for p in params if rule(names.get(p), p)}
    unnamed = sum(p not in names for p in params)
    if unnamed:
        raise InputError(
            f"{of} needs names, and {unnamed} of {len(params)} parameters have none; give "
            "derive(..., named_parameters=model.named_parameters()), build the optimizer from "
            "model.named_parameters(), or take another rule (exclude=None leaves none out)"
        )
    return {p for p in params if re.search(rule, names[p])}


def warn_if_idle(rule: Rule, found: set[Tensor], of: str) -> None:
    """Warn the caller's caller of a regular expression that is found in no name."""
    if isinstance(rule, str) and not found:
        warnings.warn(f"{of} matches no parameter: {rule!r}", UserWarning, stacklevel=3)
