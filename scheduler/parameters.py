"""The parameters that a workflow takes: declared with a type, read from text or JSON, and checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import date

from pinflow.errors import ConfigurationError, UnknownNameError
from pinflow.zygote import JSON

KINDS = ("text", "whole number", "number", "yes or no", "day")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_LONGEST = 4096


@dataclass(frozen=True)
class Parameter:
    """One parameter of a workflow: a text, whole number, number, yes or no, or day (YYYY-MM-DD).

    With `choices` only these are valid. Without a `default` each run has to give it.

    >>> Parameter("top", "whole number", default=10).read("25")
    25
    """

    name: str
    kind: str = "text"
    _: KW_ONLY
    default: JSON = None
    required: bool = False
    choices: Sequence[JSON] = ()
    description: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"a parameter cannot be called {self.name!r}; use a-z, 0-9 and '_', first a letter"
            )
        if self.kind not in KINDS:
            raise ConfigurationError(f"parameter {self.name!r} has no kind {self.kind!r}; valid: {', '.join(KINDS)}")
        object.__setattr__(self, "choices", tuple(self.choices))
        if self.default is not None:
            object.__setattr__(self, "default", self.read(self.default))

    def read(self, value: JSON) -> JSON:
        """A value of the parameter's kind, from such a value or from text; raises `ConfigurationError` for others."""
        try:
            found = self._read(value)
        except (ValueError, TypeError, KeyError):
            raise ConfigurationError(
                f"parameter {self.name!r} must be a {self.kind}{self._example}, not {value!r}"
            ) from None
        if self.choices and found not in self.choices:
            valid = ", ".join(str(choice) for choice in self.choices)
            raise ConfigurationError(f"parameter {self.name!r} cannot be {value!r}; valid: {valid}")
        return found

    @property
    def _example(self) -> str:
        return {"day": " such as 2015-05-18", "text": f" of at most {_LONGEST} characters"}.get(self.kind, "")

    def _read(self, value: JSON) -> JSON:
        if self.kind == "text":
            if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
                raise ValueError(value)
            return value
        if self.kind == "yes or no":
            return value if isinstance(value, bool) else _YES_NO[str(value).lower()]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError(value)
        if self.kind == "day":
            if not (isinstance(value, str) and _DAY.fullmatch(value)):
                raise ValueError(value)
            return date.fromisoformat(value).isoformat()
        if self.kind == "whole number":
            if isinstance(value, float) and not value.is_integer():
                raise ValueError(value)
            return int(value)
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(value)
        return number


def read_parameters(workflow: str, declared: Sequence[Parameter], given: Mapping[str, JSON]) -> dict[str, JSON]:
    """All declared parameters with their values: those that are given, else the defaults.

    Raises `ConfigurationError` for one that is not declared, not valid, or required and not given.
    """
    known = {parameter.name: parameter for parameter in declared}
    for name in given:
        if name not in known:
            raise UnknownNameError(f"parameter of {workflow}", name, known, f"pinflow workflows check {workflow}")
    for name, parameter in known.items():
        if parameter.required and name not in given:
            raise ConfigurationError(f"workflow {workflow!r} needs the parameter {name!r}; add: --set {name}=VALUE")
    return {name: p.read(given[name]) if name in given else p.default for name, p in known.items()}
