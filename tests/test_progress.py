"""Progress reaches a log file as a few lines, and a bar never runs past its end."""

from __future__ import annotations

import io
import sys

import pytest

from policytrim_gym import progress
from policytrim_gym.progress import ProgressBar, write_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_no_redraws(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with ProgressBar(5000, "step", "cloning") as bar:
            for _ in range(5000):
                bar.describe("cloning, loss 0.1")
                bar.advance()

    work()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress, "LOG_EVERY_S", -1.0)
    work()
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err and err.splitlines()[-1] == "cloning, loss 0.1: 5,000 of 5,000 steps"


def test_a_bar_keeps_its_scale_when_more_is_done_than_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with ProgressBar(200, "step", "stage2", done=150) as bar:
        bar.advance_to(230)
        write_line("a line")
    assert bar.done == 200
    assert "100%" in terminal.getvalue() and "230" not in terminal.getvalue() and "a line\n" in terminal.getvalue()


def test_a_new_description_is_drawn_before_work_that_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with ProgressBar(200, "step", "baseline") as bar:
        bar.describe("warm-start", now=True)
        assert "warm-start" in terminal.getvalue()
