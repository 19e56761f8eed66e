"""Laws of `policytrim report`: the page stands beside the report, and a bad report leaves nothing."""

from __future__ import annotations

import json

import pytest
from synthetic_arms import synthetic_arm

from policytrim_gym.cli.main import main
from policytrim_gym.evaluation.report.build import Provenance, build_report, save_report


@pytest.fixture
def run_folder(tmp_path):
    report = build_report(
        Provenance("base", "PolicyTrim/MetaWorld-v0", seed=0),
        baseline=synthetic_arm("stock"),
        trimmed=synthetic_arm("trimmed", horizon=32, pace=0.5),
    )
    save_report(report, tmp_path / "report.json")
    return tmp_path


def test_report_draws_the_page_and_prints_the_verdict(run_folder, capsys):
    assert main(["report", "--out", str(run_folder)]) == 0
    out = capsys.readouterr().out
    assert "trimmed" in out and "wrote" in out
    assert (run_folder / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")


def test_report_as_markdown_and_as_json(run_folder, capsys):
    assert main(["report", "--out", str(run_folder), "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("|")
    assert main(["report", "--out", str(run_folder), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((run_folder / "report.json").read_text())


@pytest.mark.parametrize("content", [None, "", '{"schema": "policytrim.report/1"', '{"schema": "other/1"}'])
def test_a_missing_or_broken_report_is_one_line_and_no_page(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    assert main(["report", "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "report.json" in err
    assert not (tmp_path / "report.html").exists()
