"""A workflow as a picture: stages, the critical path, as text and as SVG."""

from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import NamedTuple

import networkx

from pinflow.scheduler.definition import Definition

_CHARACTER, _HEIGHT, _PADDING, _ACROSS, _DOWN = 7.9, 28, 12, 64, 14
_COLOURS = {
    "succeeded": "#2f855a",
    "skipped": "#718096",
    "failed": "#c53030",
    "upstream_failed": "#b7791f",
    "aborted": "#b7791f",
    "running": "#2b6cb0",
    "polling": "#2b6cb0",
}
_STYLE = (
    "text{font:13px ui-monospace,monospace;fill:#1a202c}rect{fill:#fff;stroke:#4a5568;stroke-width:1.5}"
    "path{fill:none;stroke:#a0aec0;stroke-width:1.2}.critical{stroke:#1a202c;stroke-width:2}.stage{fill:#4a5568}"
)


class Box(NamedTuple):
    """Where a job is drawn: its left upper corner and its width, in pixels."""

    x: float
    y: float
    width: float


def layers(definition: Definition) -> list[list[str]]:
    """The jobs by the number of steps before them; those of a layer do not depend on each other."""
    graph = definition.graph()
    position = definition.positions
    return [sorted(names, key=position.__getitem__) for names in networkx.topological_generations(graph)]


def critical_path(definition: Definition, seconds: Mapping[str, float] | None = None) -> list[str]:
    """The jobs of the longest way from start to end, by `seconds` a job (default: each the same)."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    weights = {name: 1.0 if seconds is None else seconds.get(name, 0.0) for name in definition.order}
    graph.add_nodes_from(weights)
    for name, after in definition.successors.items():
        graph.add_edges_from((name, other, {"weight": weights[name]}) for other in after)
    # The weight of a path's last job is on no edge: an edge to an end that is not a job carries it.
    graph.add_edges_from((name, "", {"weight": weight}) for name, weight in weights.items())
    return [str(name) for name in networkx.dag_longest_path(graph)[:-1]] if weights else []


def draw_text(definition: Definition, states: Mapping[str, str] | None = None) -> str:
    """The workflow as lines of text: its stages, each job with what it comes after; `*` marks the critical path."""
    critical = set(critical_path(definition))
    width = max((len(name) for name in definition.nodes), default=0)
    room = max((len(state) for state in states.values()), default=0) if states else 0
    lines = [f"{definition.workflow} {definition.date.isoformat()}"]
    for stage in definition.stages:
        lines.append(f"\n{stage.name}")
        for node in stage.jobs:
            mark = "*" if node.name in critical else " "
            state = f"  {states.get(node.name, ''):{room}}" if states else ""
            after = f"  <- {', '.join(node.after)}" if node.after else ""
            lines.append(f" {mark} {node.name:{width}}{state}{after}".rstrip())
    return "\n".join(lines) + "\n"


def draw_svg(definition: Definition, states: Mapping[str, str] | None = None) -> str:
    """The workflow as an SVG picture: layers from left to right, coloured by `states`, the critical path bold."""
    boxes = _place(definition)
    width = max((box.x + box.width for box in boxes.values()), default=0.0) + _PADDING
    height = max((box.y + _HEIGHT for box in boxes.values()), default=0.0) + _PADDING
    critical = critical_path(definition)
    steps = set(pairwise(critical))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img">',
        f"<title>{escape(definition.workflow)} {definition.date.isoformat()}</title>",
        f"<style>{_STYLE}</style>",
    ]
    for name, after in definition.successors.items():
        parts += [_edge(boxes[name], boxes[other], (name, other) in steps) for other in after]
    parts += [_node(definition, name, box, states or {}) for name, box in boxes.items()]
    return "\n".join([*parts, "</svg>\n"])


def _place(definition: Definition) -> dict[str, Box]:
    """Layer by layer; within a layer in the order of the middle of what each job comes after, so few edges cross."""
    boxes: dict[str, Box] = {}
    x = float(_PADDING)
    for layer in layers(definition):
        width = max(len(name) for name in layer) * _CHARACTER + 2 * _PADDING
        for row, name in enumerate(sorted(layer, key=lambda name: _middle(definition, name, boxes))):
            boxes[name] = Box(x, _PADDING + row * (_HEIGHT + _DOWN), width)
        x += width + _ACROSS
    return boxes


def _middle(definition: Definition, name: str, boxes: Mapping[str, Box]) -> float:
    before = [boxes[other].y for other in definition.nodes[name].after]
    return sum(before) / len(before) if before else float(definition.positions[name])


def _edge(start: Box, end: Box, critical: bool) -> str:
    x1, y1 = start.x + start.width, start.y + _HEIGHT / 2
    x2, y2 = end.x, end.y + _HEIGHT / 2
    bend = (x1 + x2) / 2
    kind = ' class="critical"' if critical else ""
    return f'<path{kind} d="M{x1:.1f} {y1:.1f} C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"/>'


def _node(definition: Definition, name: str, box: Box, states: Mapping[str, str]) -> str:
    state = states.get(name, "")
    colour = f' style="stroke:{_COLOURS[state]}"' if state in _COLOURS else ""
    round_by = _HEIGHT / 2 if definition.nodes[name].kind == "condition" else 4
    title = " · ".join(part for part in (definition.stage_of[name], name, state) if part)
    return (
        f"<g><title>{escape(title)}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{_HEIGHT}" rx="{round_by}"{colour}/>'
        f'<text x="{box.x + _PADDING:.1f}" y="{box.y + _HEIGHT / 2 + 4.5:.1f}">{escape(name)}</text></g>'
    )
