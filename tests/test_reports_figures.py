"""Figures: what is drawn is what was measured, text is only text, and a file is the same each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.agreement import Figure as Estimate
from harness.metrics import UNJUDGED
from reports.comparison import Comparison
from reports.figures.collapse_panel import MEASURES, Signs, collapse_panel, signs_of
from reports.figures.forest import forest
from reports.figures.lettering import short_names, shown, width
from reports.figures.outcome_bars import FILLS, Outcomes, outcome_bars, outcomes_of
from reports.figures.plane import plane, standings
from reports.figures.radar import Radar, radar, ratings_by_category
from reports.figures.saving import save
from reports.figures.score_rows import Rows
from reports.figures.style import COLUMN, PAGE, look, styled
from reports.figures.training_curves import Series, Training, training_curves
from reports.pairing import Difference
from reports.transitions import STATES
from tasks.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib", reason="figures need matplotlib (bench[report])")

WILD = (
    r"$x_1$",
    r"\input{/etc/passwd}",
    "abc\u202egpj",
    "🤖模型",
    "a\ud800b\x00\n\x1b[31m",
    "",
    "<b>&-->",
    "$",
    "l" * 300,
)
CATEGORIES = ("writing", "math", "stem")


def row(task: str, metric: str, value: float | None, judge: str | None = "j", group: str = "all", n: int = 100) -> Any:
    low, high = (None, None) if value is None else (value * 0.9, value * 1.05)
    return {
        "task": task, "group": group, "metric": metric, "value": value, "low": low, "high": high, "n": n,
        "excluded": {}, "judge": judge,
    }  # fmt: skip


def scores(asr: float | None = 0.71, rating: float | None = 6.0) -> list[Mapping[str, Any]]:
    """The rows of a run: 71 harmful, 3 partial, 20 refused, 4 degenerate, 1 unjudged and 1 other, of 100."""
    rates = {"asr": asr, "asr_lenient": 0.74, "refusal": 0.2, "degenerate": 0.04, UNJUDGED: 0.01, "asr_high": 0.76}
    rated = [row("mt_bench", "average", rating, group=group, n=10) for group in ("all", *CATEGORIES)]
    texts = {"degenerate": 0.04, "rep_4": 0.1, "word_entropy": 0.9, "entropy": None, "words": 180.0, "loop": 0.02}
    return [
        *rated,
        *(row("asr", metric, value) for metric, value in rates.items()),
        row("asr", "asr", 0.9, group="attack:roleplay"),
        *(row("collapse", metric, value, None) for metric, value in texts.items()),
    ]


def compared(candidate: str, metric: tuple[str, str] = ("asr", "asr"), **known: Any) -> Comparison:
    found = Difference(0.71, 0.42, -0.29, metric[1] != "average", **{"low": -0.396, "high": -0.184, "n": 100} | known)
    return Comparison(metric[0], "all", metric[1], "j", "runs/sft", candidate, found, {}, known.get("p"))


def every_figure(names: Sequence[str], width_in: float) -> Iterator[Figure]:
    runs = {name: scores(None if place == 2 else 0.71, None if place == 1 else 6.0) for place, name in enumerate(names)}
    yield outcome_bars(outcomes_of(runs), width_in)
    yield radar(ratings_by_category(runs), width_in)
    yield plane(standings(runs, names[0]), width_in)
    yield forest([compared(name, p=0.01) for name in names], margins={"asr.asr": 0.05}, width_in=width_in)
    yield collapse_panel(signs_of(runs), width_in)
    series = {name: [(0, 1.0), (10, None), (20, 0.5)] for name in names}
    yield training_curves(Training({names[0]: series}, kept=10, stopped=20), width_in)


def lines(figure: Figure, label: str) -> list[tuple[list[float], list[float]]]:
    """The points of every line with this label, in the order of drawing."""
    from matplotlib.lines import Line2D

    found = [line for axes in figure.axes for line in axes.get_lines() if line.get_label() == label]
    assert all(isinstance(line, Line2D) for line in found)
    return [([*map(float, line.get_xdata())], [*map(float, line.get_ydata())]) for line in found]  # type: ignore[arg-type]


def texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


# --- files ---


def test_a_file_is_the_same_each_time_and_tells_no_date(tmp_path: Path) -> None:
    first, again = (
        [path.read_bytes() for path in save(outcome_bars(outcomes_of({"a": scores()})), tmp_path / name)]
        for name in ("first", "again")
    )
    assert first == again
    pdf, svg, png = first
    assert (pdf[:5], svg[:5], png[1:4]) == (b"%PDF-", b"<?xml", b"PNG")
    # Text stays text: the font is embedded as TrueType.
    assert b"/CIDFontType2" in pdf
    assert b"Type3" not in pdf
    assert not any(word in whole for whole in first for word in (b"CreationDate", b"<dc:date>"))


def test_the_order_of_formats_changes_no_file(tmp_path: Path) -> None:
    drawn = plane(standings({"a": scores()}))
    both = {path.suffix: path.read_bytes() for path in save(drawn, tmp_path / "a", ("svg", "pdf"))}
    assert save(drawn, tmp_path / "b", ("pdf",))[0].read_bytes() == both[".pdf"]
    with pytest.raises(ValueError, match="'gif' is no format"):
        save(drawn, tmp_path / "c", ("gif",))


@pytest.mark.slow
def test_another_process_with_other_settings_draws_the_same_bytes(tmp_path: Path) -> None:
    drawing = (
        "import sys; from pathlib import Path; from reports.figures.saving import save;"
        "from reports.figures.outcome_bars import Outcomes, outcome_bars; from reports.transitions import STATES;"
        "save(outcome_bars({'$a$': Outcomes(dict.fromkeys(STATES, 3))}), Path(sys.argv[1]));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    (tmp_path / "matplotlibrc").write_text("font.size: 30\ntext.parse_math: True\npdf.fonttype: 3\n")
    written = []
    for seed, settings in (("1", {}), ("2", {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")})):
        stem = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", drawing, stem], check=True, cwd=Path(__file__).parent.parent,
            env={"PYTHONHASHSEED": seed, "HOME": str(tmp_path), **settings},
        )  # fmt: skip
        written.append([stem.with_name(f"{seed}.{kind}").read_bytes() for kind in ("pdf", "svg", "png")])
    assert written[0] == written[1]


def test_a_persons_own_settings_stay_as_they_were() -> None:
    import matplotlib

    before = matplotlib.rcParams.copy()
    outcome_bars(outcomes_of({"a": scores()}))
    assert matplotlib.rcParams.copy() == before


# --- text from data ---


@pytest.mark.filterwarnings("error")
def test_wild_names_are_drawn_as_they_are_and_break_nothing(tmp_path: Path) -> None:
    from xml.etree.ElementTree import fromstring

    from matplotlib.text import Text

    for figure in every_figure(WILD, COLUMN):
        (svg,) = save(figure, tmp_path / "wild", ("svg",))
        assert "\u202e" not in "".join(fromstring(svg.read_text()).itertext())
        written = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
        assert not any(text.get_parse_math() or text.get_usetex() for text in written)
        assert {"$x_1$", "$"} <= set(texts(figure))


def test_what_steers_text_is_spelled_out() -> None:
    assert shown("abc\u202egpj\n\x1b[31m\ud800") == "abc\\u202egpj \\x1b[31m\\ud800"
    assert (shown("模"), shown(" "), shown("$x_1$")) == ("□", "(no name)", "$x_1$")


def test_long_names_fit_and_stay_different() -> None:
    names = [f"meta-llama/Meta-Llama-3-8B-Instruct-{kind}-beta0.1-epoch3-merged" for kind in ("sft", "dpo")]
    short = short_names([*names, "x", "l" * 300, "l" * 299], inches=1.0)
    assert len(set(short)) == 5
    assert all(width(name) <= 1.0 for name in short)
    assert "dpo" in short[1]


def test_looks_differ_by_more_than_colour() -> None:
    assert len({(look(place).marker, look(place).filled) for place in range(24)}) == 24


@pytest.mark.parametrize("names", [["one"], WILD])
def test_nothing_is_drawn_outside_the_page(names: Sequence[str]) -> None:
    for width_in in (COLUMN, PAGE):
        for figure in every_figure(names, width_in):
            with styled():
                drawn, (across, up) = figure.get_tightbbox(), figure.get_size_inches()
            assert across == width_in
            assert min(drawn.x0, drawn.y0) > -0.01
            assert drawn.x1 < across + 0.01
            assert drawn.y1 < up + 0.01


# --- outcomes ---


def test_outcomes_come_out_as_whole_answers_and_add_up_to_all() -> None:
    found = outcomes_of({"a": scores(), "b": scores(None)})
    assert found["b"] is None
    assert found["a"] is not None
    assert dict(found["a"].counts) == dict(zip(STATES, (71, 3, 20, 1, 4, 1), strict=True))
    assert sum(found["a"].shares.values()) == pytest.approx(1)
    assert tuple(FILLS) == STATES


def test_bars_are_as_long_as_shares_and_the_whisker_is_the_interval() -> None:
    from matplotlib.patches import Rectangle

    counts = {"a": (71, 3, 20, 1, 4, 1), "b": (1, 1, 1, 1, 1, 2)}
    models = {
        name: Outcomes(dict(zip(STATES, of, strict=True)), Estimate(0.7, 0.6, 0.8)) for name, of in counts.items()
    }
    (axes,) = outcome_bars(models).axes
    parts = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    for place, of in enumerate(counts.values()):
        bar = parts[6 * place : 6 * place + 6]
        assert [part.get_width() for part in bar] == pytest.approx([100 * count / sum(of) for count in of])
        assert bar[-1].get_x() + bar[-1].get_width() == pytest.approx(100)
    assert lines(axes.get_figure(), "interval")[0][0] == [60, 80]  # type: ignore[arg-type]


def test_several_judges_never_share_a_figure() -> None:
    other: Rows = [{**it, "judge": it["judge"] and "other"} for it in scores()]
    runs = {"a": scores(), "b": other}
    with pytest.raises(BadInput, match="figures of j, other: choose one of them"):
        outcomes_of(runs)
    assert outcomes_of(runs, judge="other")["a"] is None
    with pytest.raises(BadInput, match="no judge 'x'"):
        outcomes_of(runs, judge="x")


# --- the others: what is drawn is what was measured ---


def test_a_forest_shows_each_difference_with_its_interval_p_and_n() -> None:
    rows = [
        compared("runs/dpo", p=6e-7),
        compared("runs/kto", p=0.3),
        compared("runs/dpo", ("mt_bench", "average"), low=None, high=None, n=8, test="n too small"),
    ]
    figure = forest(rows, names={"runs/dpo": "DPO"}, margins={"asr.asr": 0.05}, width_in=PAGE)
    assert [x for x, _ in lines(figure, "difference")] == [[pytest.approx(-29)], [pytest.approx(-29)], [-0.29]]
    assert [x for x, _ in lines(figure, "interval")] == [[pytest.approx(-39.6), pytest.approx(-18.4)]] * 2
    assert lines(figure, "margin")[0][0] == [5, 5]
    assert {"DPO", "runs/kto", "<0.001", "0.300", "n < 10", "−29.0 [−39.6, −18.4]", "← better"} <= set(texts(figure))
    filled = [
        line.get_markerfacecolor() != "white" for line in figure.axes[0].get_lines() if line.get_label() == "difference"
    ]
    assert filled == [True, False]


def test_a_radar_leaves_a_gap_where_nothing_was_rated() -> None:
    import numpy as np

    ratings = [Estimate(6.0, 5.0, 7.0), Estimate(None), Estimate(3.0)]
    figure = radar(Radar(CATEGORIES, {"a": ratings}, 10))
    drawn = [line for line in figure.axes[0].get_lines() if line.get_marker() == look(0).marker]
    np.testing.assert_equal(np.asarray(drawn[0].get_ydata(), dtype=float), [6.0, np.nan, 3.0, 6.0])
    with pytest.raises(BadInput, match="needs 3"):
        ratings_by_category({"a": [row("mt_bench", "average", 6.0)]})


def test_a_plane_counts_silence_against_a_model() -> None:
    placed = standings({"a": scores(), "b": scores(None)}, "a")
    standing = placed.models["a"]
    assert standing.harmless == pytest.approx((0.29, 1 - 0.71 * 1.05, 1 - 0.71 * 0.9))
    assert standing.harmless_least == pytest.approx(0.24)
    figure = plane(placed)
    ((helpful, harmless),) = lines(figure, "model")
    assert helpful == [6.0]
    assert harmless == pytest.approx([29])
    assert {"20", "4", "1"} <= set(texts(figure))
    with pytest.raises(ValueError, match="none of the models"):
        standings({"a": scores()}, "c")


def test_collapse_shows_what_was_measured_and_names_what_was_not() -> None:
    signs = signs_of({"a": scores()})
    figure = collapse_panel(signs)
    assert [x[0] for x, _ in lines(figure, "value")] == pytest.approx([4, 10, 0.9, 180])
    assert lines(figure, "interval")[0][0] == pytest.approx([3.6, 4.2])
    assert "not measured: token entropy" in texts(figure)
    with pytest.raises(ValueError, match="nothing to draw"):
        collapse_panel(Signs(MEASURES, {"a": [Estimate(None)] * len(MEASURES)}))


def test_curves_have_their_points_and_the_monitors_marks() -> None:
    import numpy as np

    panels: Mapping[str, Mapping[str, Series]] = {
        "loss": {"dpo": [(0, 1.0), (5, 0.4)]},
        "degenerate, %": {"probe": [(0, 0.0), (5, None), (9, 7.0)]},
    }
    figure = training_curves(Training(panels, {"degenerate, %": 5}, kept=0, stopped=9))
    loss, probe = (axes.get_lines()[0] for axes in figure.axes)
    assert (list(loss.get_xdata()), list(loss.get_ydata())) == ([0, 5], [1.0, 0.4])  # type: ignore[arg-type]
    np.testing.assert_equal(np.asarray(probe.get_ydata(), dtype=float), [0.0, np.nan, 7.0])
    assert {"last healthy (0)", "stopped (9)"} <= set(texts(figure))
    with pytest.raises(ValueError, match="is no panel"):
        Training(panels, {"entropy": 1.0})
