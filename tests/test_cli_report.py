"""Laws of `policytrim report`: the page stands beside the report, and a bad report leaves nothing."""

from __future__ import annotations

import inspect
import json

import pytest
from synthetic_arms import synthetic_arm

from policytrim_gym.cli.main import main
from policytrim_gym.cli.report import TRAINING_LOG, VIDEO
from policytrim_gym.evaluation.report.build import Provenance, build_report, load_report, save_report
from policytrim_gym.evaluation.report.html import render_report


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


GIF = b"GIF89a" + bytes(20)
ROWS = [
    {"stage": "stage1", "seconds": 1.0, "success": 0.5, "steps": 90.0},
    {"stage": "stage2", "seconds": 2.0, "success": 1.0, "steps": 60.0},
]


def test_drawing_again_keeps_what_the_folder_holds(run_folder):
    """The page of `report` is the page of the run, to the byte."""
    (run_folder / "trimmed").mkdir()
    (run_folder / TRAINING_LOG).write_text(json.dumps(ROWS))
    (run_folder / VIDEO).write_bytes(GIF)
    render_report(load_report(run_folder / "report.json"), run_folder, ROWS, GIF)
    page = (run_folder / "report.html").read_text()
    assert "Training curves" in page and "data:image/gif;base64," in page
    assert main(["report", "--out", str(run_folder)]) == 0
    assert (run_folder / "report.html").read_text() == page


def test_a_video_that_is_given_replaces_the_folders(run_folder):
    (run_folder / VIDEO).write_bytes(GIF)
    (run_folder / "mine.webm").write_bytes(b"mine")
    assert main(["report", "--out", str(run_folder), "--video", str(run_folder / "mine.webm")]) == 0
    page = (run_folder / "report.html").read_text()
    assert "data:video/webm;base64," in page and "data:image/gif" not in page


@pytest.mark.parametrize("content", ["", "[1]", "{}"])
def test_a_damaged_training_log_is_one_line(run_folder, capsys, content):
    (run_folder / "trimmed").mkdir()
    (run_folder / TRAINING_LOG).write_text(content)
    assert main(["report", "--out", str(run_folder)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "training.json" in err


def test_the_files_are_where_an_experiment_writes_them():
    trim = pytest.importorskip("policytrim_gym.training.trim")
    run = pytest.importorskip("policytrim_gym.experiments.run")
    assert TRAINING_LOG == f"{run.TRIMMED}/{trim.LOG_FILE}"
    assert f'"{VIDEO}"' in inspect.getsource(run)
