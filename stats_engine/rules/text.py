"""Rules as people type them: `temporal(output_rows, side=below)`, as in a workflow, with or without quotes."""

import ast
from collections.abc import Callable, Mapping
from typing import Any

from pinflow.errors import ConfigurationError
from pinflow.stats_engine.rules.absolute import absolute
from pinflow.stats_engine.rules.balance import balance
from pinflow.stats_engine.rules.fresh import fresh
from pinflow.stats_engine.rules.nonzero import nonzero
from pinflow.stats_engine.rules.ratio import ratio
from pinflow.stats_engine.rules.rule import Rule
from pinflow.stats_engine.rules.temporal import temporal

MAKERS: Mapping[str, Callable[..., Rule]] = {
    "absolute": absolute,
    "balance": balance,
    "fresh": fresh,
    "nonzero": nonzero,
    "ratio": ratio,
    "temporal": temporal,
}
"""What makes each kind of rule."""


def parse_rule(text: str) -> Rule:
    """The rule that a text names; nothing of it is run. `ConfigurationError` says what is wrong.

    >>> str(parse_rule("ratio(bad_lines, of=lines_read, max=0.01, degree=fatal)"))
    'ratio(bad_lines / lines_read, max=0.01)'
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise SyntaxError("it is no call of a kind of rule")
        arguments = [_value(argument) for argument in call.args]
        options = {str(keyword.arg): _value(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise _refused(text, str(error)) from error
    if call.func.id not in MAKERS:
        raise _refused(text, f"no rule is of the kind {call.func.id!r}; known: {', '.join(MAKERS)}")
    try:
        return MAKERS[call.func.id](*arguments, **options)
    except TypeError as error:
        raise _refused(text, str(error)) from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.List):
        return [_value(part) for part in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(part) for part in node.elts)
    return ast.literal_eval(node)


def _refused(text: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text!r} is not a rule: {reason}; write it as in a workflow, such as temporal(output_rows) or "
        "absolute(users, min=10)"
    )
