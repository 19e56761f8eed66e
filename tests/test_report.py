"""report.json and report.html: complete, honest about defeat, self-contained, and never half-written."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_arms import synthetic_arm

from policytrim_gym.errors import CannotWrite, CorruptReport, InvalidSpec, LimitsBroken, MismatchedRollouts
from policytrim_gym.evaluation.comparison import Comparison, compare_arms
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport, pool_arms
from policytrim_gym.evaluation.pareto import best_untrained_pair
from policytrim_gym.evaluation.report import plots
from policytrim_gym.evaluation.report.build import (
    REQUIRED_KEYS,
    Provenance,
    WallClockSetting,
    build_report,
    load_report,
    report_arms,
    save_report,
)
from policytrim_gym.evaluation.report.html import render_report, report_html, save_headline_plot
from policytrim_gym.evaluation.report.tables import arm_rows, markdown_table, print_table
from policytrim_gym.evaluation.report.verdict import Target, give_verdict, outcome_of
from policytrim_gym.evaluation.statistics import Interval, NonInferiority

CURVES = [
    {"stage": f"stage{1 + k // 3}", "success": 0.9, "steps": 90 - k, "calls": 4.0, "timesteps": 500 * k,
     "validation_success": 0.9 if k % 2 == 0 else None}
    for k in range(6)
]  # fmt: skip


def untrained_arms(num_states: int = 20) -> list[EfficiencyReport]:
    return [
        synthetic_arm("base h=32", horizon=32, success_rate=0.8, num_states=num_states),
        synthetic_arm("base h=16 x2", horizon=16, pace=0.55, success_rate=0.97, playback_rate=2.0, num_states=num_states),
    ]


def make_report(pace: float = 0.4, success_rate: float = 1.0, num_states: int = 20, **options: Any) -> dict[str, Any]:
    arms = untrained_arms(num_states)
    values: dict[str, Any] = {
        "provenance": Provenance("runs/demo/clone", "PolicyTrim/MetaWorld-v0", 0),
        "baseline": synthetic_arm("stock", success_rate=0.95, num_states=num_states),
        "trimmed": synthetic_arm("trimmed", horizon=32, pace=pace, success_rate=success_rate, num_states=num_states),
        "controls": arms,
        "untrained": [arm.name for arm in arms],
        "best_untrained": "base h=16 x2",
        "reference": synthetic_arm("straight line", horizon=1, pace=0.3, success_rate=1.0, num_states=num_states),
    }
    return build_report(**{**values, **options})


def with_success(comparison: Comparison, difference: float, half: float, margin: float = 0.03) -> Comparison:
    low = difference - half
    success = NonInferiority(margin, difference, Interval(low, difference + half), 100, 5, max(0.0, -low), low > -margin)
    return replace(comparison, success=success)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return make_report()


def test_report_has_the_public_keys_and_passes_through_a_file(report: dict[str, Any], tmp_path: Path) -> None:
    save_report(report, tmp_path / "report.json")
    loaded = load_report(tmp_path / "report.json")
    assert loaded == json.loads(json.dumps(report))
    assert set(REQUIRED_KEYS) <= loaded.keys()
    assert loaded["schema"] == "policytrim.report/1"
    assert {"replans", "steps", "wall_clock", "published_definition"} <= loaded["ratios"].keys()
    assert set(loaded["ratios"]["steps"]) == {"value", "ci95"}
    assert report_arms(loaded).all == report_arms(report).all


def test_an_episode_takes_one_line(report: dict[str, Any], tmp_path: Path) -> None:
    save_report(report, tmp_path / "report.json")
    lines = (tmp_path / "report.json").read_text().splitlines()
    assert sum(line.startswith('{"success"') for line in lines) == 5 * 60


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1', "[]", "{}", '{"schema": "policytrim.report/2"}'])
def test_a_corrupt_report_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(CorruptReport, match="report.json"):
        load_report(path)
    with pytest.raises(CorruptReport, match="missing.json"):
        load_report(tmp_path / "missing.json")


def test_a_truncated_report_is_refused(report: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    save_report(report, path)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(CorruptReport, match="truncated"):
        load_report(path)
    wrong = json.loads(whole)
    wrong["schema"] = "policytrim.report/9"
    path.write_text(json.dumps(wrong))
    with pytest.raises(CorruptReport, match="policytrim.report/9"):
        load_report(path)
    del wrong["trimmed"]["success_rate"]
    path.write_text(json.dumps({**wrong, "schema": "policytrim.report/1"}))
    with pytest.raises(CorruptReport, match="success_rate"):
        load_report(path)


def test_a_report_that_cannot_be_written_leaves_the_old_one(report: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    with pytest.raises(CannotWrite, match="blocked"):
        save_report(report, tmp_path / "blocked" / "report.json")
    path = tmp_path / "report.json"
    save_report(report, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        save_report({**report, "training": {"loss": float("nan")}}, path)
    assert path.read_bytes() == before


def test_names_and_states_are_checked() -> None:
    with pytest.raises(InvalidSpec, match="unique names"):
        make_report(controls=[synthetic_arm("stock")])
    with pytest.raises(InvalidSpec, match='got "h=99"'):
        make_report(best_untrained="h=99")
    with pytest.raises(MismatchedRollouts, match="base h=32"):
        make_report(controls=[synthetic_arm("base h=32", num_states=19), untrained_arms()[1]])
    with pytest.raises(InvalidSpec, match="t_step_s"):
        WallClockSetting(0.1, 0.0)
    with pytest.raises(InvalidSpec, match="'speed'"):
        Target("stock", "speed", 2.0)


def test_stock_itself_may_be_the_best_untrained_setting() -> None:
    report = make_report(best_untrained="stock")
    assert report["ratios_to_best_untrained"] == report["ratios"]
    assert report_arms(report).best_untrained == report_arms(report).baseline
    assert "trimmed" in report_html(report)


def test_the_verdict_follows_the_measurement() -> None:
    stock = compare_arms(synthetic_arm("stock"), synthetic_arm("trimmed", horizon=32, pace=0.5))
    assert outcome_of(with_success(stock, 0.0, 0.02)) == "yes"
    assert outcome_of(with_success(stock, 0.0, 0.05)) == "unresolved"
    assert outcome_of(with_success(stock, -0.04, 0.05)) == "no"
    assert outcome_of(with_success(stock, -0.02, 0.01)) == "no"
    more_steps = compare_arms(synthetic_arm("stock"), synthetic_arm("trimmed", horizon=32, pace=1.2))
    assert outcome_of(with_success(more_steps, 0.0, 0.01)) == "no"
    same = compare_arms(synthetic_arm("stock"), synthetic_arm("stock"))
    assert outcome_of(with_success(same, 0.0, 0.01)) == "no"


def test_a_defeat_by_the_best_untrained_setting_comes_first() -> None:
    report = make_report(pace=0.7, num_states=100)
    verdict = report["verdict"]
    assert (verdict["beats_stock"], verdict["beats_best_untrained"]) == ("yes", "no")
    assert verdict["headline"].startswith('The trim does not beat the best untrained setting, "base h=16 x2": it needs ')
    assert "more steps" in verdict["headline"]
    said, low, high = map(float, re.search(r"([0-9.]+)x more steps \[([0-9.]+), ([0-9.]+)\]", verdict["sentences"][0]).groups())  # type: ignore[union-attr]
    assert 1.0 < low <= said <= high
    text = report_html(report)
    assert text.index("does not beat the best untrained") < text.index("Against the stock setting")


def test_victory_is_said_plainly_and_targets_are_judged() -> None:
    targets = [Target("stock", "replans", 4.0), Target("stock", "steps", 9.0), Target("best_untrained", "either", 1.3)]
    verdict = make_report(targets=targets, num_states=100)["verdict"]
    assert (verdict["beats_stock"], verdict["beats_best_untrained"]) == ("yes", "yes")
    assert verdict["headline"] == 'The trimmed policy beats the stock setting and the best untrained one, "base h=16 x2".'
    assert [target["reached"] for target in verdict["targets"]] == [True, False, True]


def test_a_sample_too_small_for_the_margin_is_a_smoke_check() -> None:
    small, large = make_report()["verdict"], make_report(num_states=300)["verdict"]
    assert small["smoke_check"] and "smoke check: 60 pairs resolve a margin of about" in " ".join(small["sentences"])
    assert not large["smoke_check"] and "smoke check" not in " ".join(large["sentences"])


def test_every_outcome_has_a_headline() -> None:
    stock = compare_arms(synthetic_arm("stock"), synthetic_arm("trimmed", horizon=32, pace=0.5))
    cases = [with_success(stock, 0.0, 0.02), with_success(stock, 0.0, 0.05), with_success(stock, -0.04, 0.05)]
    headlines = {give_verdict(a, b).headline for a in cases for b in [*cases, None]}
    assert len(headlines) >= 8
    assert all(headline.endswith(".") and "None" not in headline for headline in headlines)
    lost = give_verdict(cases[0], cases[2])
    assert "success is 4.0 points lower" in lost.headline


def test_an_arm_that_never_succeeds_still_makes_a_report(tmp_path: Path) -> None:
    report = make_report(success_rate=-1.0)
    assert report["verdict"]["beats_stock"] == "no"
    assert report["ratios"]["steps"] == {"value": None, "ci95": None}
    save_report(report, tmp_path / "report.json")
    assert "–" in markdown_table(load_report(tmp_path / "report.json"))
    assert "None" not in re.sub(r"<svg.*?</svg>", "", report_html(report), flags=re.DOTALL)


def test_the_page_needs_no_network_and_shows_everything(report: dict[str, Any], tmp_path: Path) -> None:
    path = render_report(report, tmp_path / "new" / "folder", training_curves=CURVES, video=b"GIF89a")
    page = path.read_text()
    assert path.name == "report.html"
    assert not re.search(r"(?:src|href|url\()\s*[=(]?\s*[\"']?https?:", page)
    assert "<script" not in page and "@import" not in page
    assert page.count("<svg") == 5 and "data:image/gif;base64," in page
    assert all(arm.name in page for arm in report_arms(report).all)
    assert all(task in page for task in ("reach-v3", "push-v3", "peg-insert-side-v3"))
    # Every colour of a plot is the page's, or a dark page would show black on black.
    assert not re.search(r"#0101[0-9a-f]{2}", page)
    assert re.search(r"<svg[^>]*>.*var\(--trimmed\)", page, flags=re.DOTALL)


def test_a_reference_that_is_slower_than_the_trim_is_called_neither_fastest_nor_a_bound() -> None:
    reference = synthetic_arm("saturated expert", horizon=1, pace=0.6, success_rate=1.0)
    report = make_report(reference=reference)
    assert report["lower_bounds"]["trimmed"]["steps_headroom"] < 1
    page = report_html(report)
    assert "saturated expert is a scripted reference and no bound" in page
    assert "lower bound" not in page and "fastest" not in page
    assert "reference" not in report_html(make_report(reference=None)).partition("</style>")[2]


def with_motion(arm: EfficiencyReport, headroom: float) -> EfficiencyReport:
    episodes = (replace(record, motion_s=0.05 * record.steps, shortest_s=0.05 * record.steps / headroom) for record in arm.episodes)
    return replace(arm, episodes=tuple(episodes))


def test_motion_has_its_columns_where_it_was_measured() -> None:
    base, trimmed = with_motion(synthetic_arm("stock"), 3.1), with_motion(synthetic_arm("trimmed", horizon=32, pace=0.4), 1.25)
    measured = make_report(baseline=base, trimmed=trimmed)
    page, table = report_html(measured), markdown_table(measured)
    assert "| motion headroom |" in table and "| 3.10x |" in table and "| 1.25x |" in table
    assert "<th>time over it</th>" in page and "<td>1.25x</td>" in page and page.count("Motion headroom: ") == 2
    without = make_report()
    assert "otion headroom" not in markdown_table(without) and "time over it" not in report_html(without)


def test_a_report_of_motion_beyond_the_limits_is_refused() -> None:
    broken = with_motion(synthetic_arm("base x4", playback_rate=4.0), 0.9)
    with pytest.raises(LimitsBroken, match='arm "base x4", task .* got 0.900'):
        make_report(controls=[*untrained_arms(), broken])


def test_a_report_from_before_motion_was_measured_renders(report: dict[str, Any]) -> None:
    bounds = {key: {name: value for name, value in row.items() if "otion" not in name and name != "shortest_s"}
              for key, row in report["lower_bounds"].items()}  # fmt: skip
    assert report_html({**report, "lower_bounds": bounds}) == report_html(report)


def test_no_axis_of_success_goes_beyond_one_hundred_percent(report: dict[str, Any]) -> None:
    arms = report_arms(report)
    draws = [plots.success_against_calls(arms), plots.success_against_horizon(arms), plots.success_over_time(arms)]
    for draw in [*draws, plots.training_curves(CURVES)]:
        axes = draw(plots.LIGHT).axes[0]
        assert max(axes.get_yticks()) <= 100 < axes.get_ylim()[1] <= 103


def test_the_front_ends_at_its_last_arm() -> None:
    """Arms to its right are worse: a line through them would claim them."""
    arms = report_arms(make_report(success_rate=0.9))
    lines = plots.success_against_calls(arms)(plots.LIGHT).axes[0].lines
    (front,) = (np.asarray(line.get_xdata()) for line in lines if str(line.get_label()).startswith("front"))
    calls = [arm.num_replans_mean for arm in arms.all]
    assert set(front) < set(calls) and front.max() < max(calls)


def test_the_page_escapes_what_users_name() -> None:
    page = report_html(make_report(provenance=Provenance("<b>bold & co</b>", "e", 0)))
    assert "<b>bold" not in page and "&lt;b&gt;bold &amp; co" in page


def test_the_page_is_the_same_from_run_to_run(report: dict[str, Any]) -> None:
    assert report_html(report, CURVES) == report_html(report, CURVES)


def test_a_minimal_report_renders() -> None:
    arm = synthetic_arm("stock")
    minimal = build_report(Provenance("p", "e", 1), baseline=arm, trimmed=arm.renamed("trimmed"))
    assert "No untrained setting was compared" in minimal["verdict"]["headline"]
    keys = {*REQUIRED_KEYS}
    bare: Mapping[str, Any] = {key: value for key, value in minimal.items() if key in keys}
    assert "<html" in report_html(bare) and "| arm |" in markdown_table(bare)


def test_provenance_is_kept_and_cannot_replace_a_measurement() -> None:
    extra = {"ratios": 1, "git_commit": "abc"}
    provenance = Provenance("p", "e", 0, command="make demo", demonstrator="slow", training={"minutes": 3.4}, extra=extra)
    report = make_report(provenance=provenance)
    assert (report["command"], report["training"], report["git_commit"]) == ("make demo", {"minutes": 3.4}, "abc")
    assert report["ratios"] == make_report()["ratios"]
    assert "make demo" in report_html(report)


def test_pooled_seeds_make_a_report() -> None:
    pooled = [pool_arms(name, {seed: synthetic_arm(name, horizon=h, pace=p, seed=seed) for seed in range(3)})
              for name, h, p in (("stock", 8, 1.0), ("trimmed", 32, 0.5))]  # fmt: skip
    report = build_report(Provenance("p", "e", [0, 1, 2]), baseline=pooled[0], trimmed=pooled[1], cluster_by="state")
    assert (report["num_episodes"], report["non_inferiority"]["num_pairs"], report["seed"]) == (180, 180, [0, 1, 2])


def test_a_selection_on_validation_names_the_test_arm() -> None:
    selection = best_untrained_pair(untrained_arms(15), synthetic_arm("stock", num_states=15))
    report = make_report(best_untrained=selection)
    assert report["best_untrained"]["name"] == selection.name
    assert len(report["best_untrained"]["candidates"]) == 3


def test_tables_list_the_headline_arms_first(report: dict[str, Any]) -> None:
    rows = arm_rows(report_arms(report))
    assert [row.role for row in rows] == ["stock", "best_untrained", "trimmed", "untrained"]
    assert (rows[0].calls_ratio, rows[0].steps_ratio) == (1.0, 1.0)
    lines = markdown_table(report, columns=("success", "calls")).splitlines()
    assert lines[0] == "| arm | success | calls |" and lines[2].startswith("| **stock**")
    assert "**base h=16 x2 (best untrained)**" in lines[3]
    with pytest.raises(InvalidSpec, match="'speed'"):
        markdown_table(report, columns=("speed",))


def test_the_terminal_gets_table_and_verdict(report: dict[str, Any]) -> None:
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=100)
    print_table(report, console)
    text = console.file.getvalue()
    assert "trimmed" in text and report["verdict"]["headline"] in " ".join(text.split())


def test_the_headline_plot_is_a_picture(report: dict[str, Any], tmp_path: Path) -> None:
    save_headline_plot(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_video_is_named(report: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="nowhere.gif"):
        report_html(report, video=tmp_path / "nowhere.gif")
