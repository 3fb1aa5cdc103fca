from datetime import date
from xml.etree import ElementTree

from pinflow.scheduler.declare import Condition, Job, Stage, Workflow
from pinflow.scheduler.definition import define
from pinflow.scheduler.graph import critical_path, draw_svg, draw_text, layers

STAGES = [
    Stage(
        "extract", [Condition("ready", call="m:f"), Job("pins", call="m:f", after=["ready"]), Job("users", call="m:f")]
    ),
    Stage("count", [Job("domains", call="m:f", after=["pins", "users"]), Job("audience", call="m:f", after=["users"])]),
]
DEFINITION = define(Workflow("demo", "o", lambda _d, _p: STAGES), date(2015, 5, 18))


def test_layers():
    assert layers(DEFINITION) == [["ready", "users"], ["pins", "audience"], ["domains"]]


def test_the_critical_path_follows_the_time():
    assert critical_path(DEFINITION) == ["ready", "pins", "domains"]
    assert critical_path(DEFINITION, {"users": 5, "audience": 9, "pins": 4, "domains": 6}) == ["users", "audience"]


def test_text():
    assert draw_text(DEFINITION, {"pins": "failed"}) == (
        "demo 2015-05-18\n"
        "\nextract\n"
        " * ready\n"
        " * pins      failed  <- ready\n"
        "   users\n"
        "\ncount\n"
        " * domains           <- pins, users\n"
        "   audience          <- users\n"
    )


def test_svg_is_well_formed_and_shows_every_job_and_edge_inside_its_frame():
    root = ElementTree.fromstring(draw_svg(DEFINITION, {"pins": "failed"}))
    name = "{http://www.w3.org/2000/svg}"
    assert [t.text for t in root.iter(f"{name}text")] == ["ready", "users", "pins", "audience", "domains"]
    assert len(list(root.iter(f"{name}path"))) == 4
    boxes = list(root.iter(f"{name}rect"))
    for box in boxes:
        assert float(box.get("x", "")) + float(box.get("width", "")) <= float(root.get("width", ""))
        assert float(box.get("y", "")) + float(box.get("height", "")) <= float(root.get("height", ""))
    assert len({(box.get("x"), box.get("y")) for box in boxes}) == 5


def test_nothing_is_drawn_of_an_empty_workflow():
    empty = define(Workflow("demo", "o", lambda _d, _p: []), date(2015, 5, 18))
    assert (layers(empty), critical_path(empty)) == ([], [])
    ElementTree.fromstring(draw_svg(empty))
