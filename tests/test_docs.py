"""Laws of the documentation: links lead somewhere, and the code in it runs."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
from pathlib import Path

import pytest
from test_imports import KNOWN, UPWARDS, imported, layer_of, modules

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUNNABLE = ["README.md", "docs/how-to/own-environment-and-policy.md", "docs/how-to/observation-maps.md"]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def name_of(page):
    return str(page.relative_to(ROOT))


def anchors_of(page):
    """Returns the anchors of a page's headings, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        assert not anchor or anchor in anchors_of(target), f"{name_of(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_in_the_pages_compiles(page):
    for block in PYTHON_BLOCK.findall(page.read_text()):
        compile(block, name_of(page), "exec")


@pytest.mark.parametrize("page", RUNNABLE)
def test_the_examples_of_a_page_print_what_they_say(page, capsys):
    """A trailing comment of a print is its output; what stands below `if __name__ == "__main__"` needs a checkpoint and is not run."""
    for block in PYTHON_BLOCK.findall((ROOT / page).read_text()):
        exec(compile(block, page, "exec"), {})
        expected = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert capsys.readouterr().out.split("\n")[:-1] == expected


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_names_that_an_example_imports_exist(example, monkeypatch):
    monkeypatch.syspath_prepend(str(example.parent))  # as when it is run: some share a module
    assert callable(runpy.run_path(str(example), run_name="not_main")["main"])


def test_every_page_can_be_reached_from_the_index():
    reached, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
        waiting += [(page.parent / link).resolve() for link in links if link]
    assert {page for page in PAGES if "docs" in page.parts} <= reached


def arrows_of_the_diagram(arrow):
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    (diagram,) = re.findall(r"^```mermaid\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return set(re.findall(rf"^\s*(\w+) {arrow} (\w+)$", diagram, re.MULTILINE))


def test_the_import_diagram_has_an_arrow_for_every_import():
    imports = {
        (layer_of(importer), layer_of(target))
        for importer, tree in modules()
        for target in imported(tree)
        if importer != "policytrim_gym" and target in KNOWN - {"policytrim_gym"} and (importer, target) not in UPWARDS
    }
    across = {(source, sink) for source, sink in imports if source != sink}
    assert across <= arrows_of_the_diagram("-->")


def test_the_import_diagram_dots_what_is_looked_up_at_run_time():
    assert arrows_of_the_diagram(r"-\..*\.->") == {(layer_of(importer), layer_of(target)) for importer, target in UPWARDS}


def test_the_import_diagram_has_no_cycle():
    arrows = arrows_of_the_diagram("-->") | arrows_of_the_diagram(r"-\..*\.->")
    assert arrows
    while arrows:
        sources = {source for source, _ in arrows}
        leaves = {sink for _, sink in arrows} - sources
        assert leaves, f"a cycle among {sources}"
        arrows = {(source, sink) for source, sink in arrows if sink not in leaves}


def test_the_control_room_of_the_ros_package_imports_the_core_and_the_robot_only():
    targets = {
        target
        for path in (ROOT / "policytrim_ros" / "control").rglob("*.py")
        for target in imported(ast.parse(path.read_text()))
        if target in KNOWN
    }
    assert {layer_of(target) for target in targets} == {"core", "robot"}
    assert {("ros_control", "core"), ("ros_control", "robot")} <= arrows_of_the_diagram("-->")


def test_the_tables_of_settings_are_those_of_the_docstrings(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    tables = importlib.import_module("config_tables")
    assert len(tables.PLACE.findall(tables.PAGE.read_text())) == 10
    for path in (tables.PAGE, tables.ROS_PAGE):
        assert path.read_text() == tables.render(path.read_text()), f"{path.name}: run python docs/config_tables.py"
