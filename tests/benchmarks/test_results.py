"""The table that the benchmarks share: it is read back as written, and seeds are compared pair by pair."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.experiments.results import (
    Result,
    compare_inits,
    comparison_table,
    markdown,
    plot_labels,
    read_results,
    spread_table,
    write_report,
    write_results,
)
from sarhub_models.errors import DataError, InputError


def results(gain: float = 0.1, seeds: int = 5, fractions: tuple[float, ...] = (0.1, 1.0)) -> list[Result]:
    """Two initializations whose seeds differ much more than they do."""
    rng = random.Random(0)
    rows = []
    for seed in range(seeds):
        base = rng.uniform(0.3, 0.7)
        for fraction in fractions:
            for init, value in (("none", base), ("SAR", base + gain + rng.uniform(-0.01, 0.01))):
                rows.append(Result("recognition", "ships", "resnet18", init, fraction, seed, "overall_accuracy", value))
    return rows


_texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)
_rows = st.builds(
    Result,
    *(_texts, _texts, _texts, _texts),
    st.floats(1e-3, 1),
    st.integers(0, 1000),
    _texts,
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(_rows, min_size=1, max_size=5))
def test_rows_are_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[Result]) -> None:
    file = tmp_path_factory.mktemp("table") / "results.csv"
    write_results(rows, file)
    assert read_results(file) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "expected the columns"),
        ("", "expected the columns"),
        ("task,dataset,network,init,fraction,seed,metric,value\nt,d,n,i,all,0,m,0.5\n", "line 2"),
        ("task,dataset,network,init,fraction,seed,metric,value\nt,d,n,i,1.0,0,m\n", "line 2"),
        ("task,dataset,network,init,fraction,seed,metric,value\nt,d,n,i,1.0,0,m,0.5,7\n", "line 2"),
    ],
)
def test_another_table_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "results.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        read_results(file)
    assert str(file) in str(caught.value)


def test_missing_table_and_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="no results"):
        write_results([], tmp_path / "results.csv")


def test_pairs_are_compared_by_seed_and_not_by_their_order() -> None:
    rows = results()
    none, sar = ([r for r in rows if r.init == init and r.fraction == 0.1] for init in ("none", "SAR"))
    expected = stats.ttest_rel([r.value for r in sar], [r.value for r in none]).pvalue
    shuffled = [rows[0], *random.Random(1).sample(rows[1:], len(rows) - 1)]
    one, two = sorted(compare_inits(shuffled), key=lambda c: c.fraction)
    assert (one.base, one.other, one.n) == ("none", "SAR", 5)
    assert one.difference == pytest.approx(0.1, abs=0.01)
    assert one.deviation < 0.01, "the spread of the seeds themselves, 0.1, does not count"
    assert one.p == pytest.approx(expected)
    assert two.fraction == 1.0


def test_wilcoxon_of_five_pairs_of_one_sign() -> None:
    assert all(c.p == pytest.approx(2 / 2**5) for c in compare_inits(results(), "wilcoxon"))


def test_one_seed_is_compared_but_not_tested() -> None:
    (comparison,) = compare_inits(results(seeds=1, fractions=(1.0,)))
    assert (comparison.n, comparison.p) == (1, None)
    assert "| – | 1 |" in comparison_table([comparison])


def test_differences_that_do_not_vary_are_not_tested() -> None:
    rows = [Result("t", "d", "n", i, 1.0, s, "m", 0.5 + 0.25 * (i == "b")) for s in range(3) for i in "ab"]
    for test in ("t", "wilcoxon"):
        assert [c.p for c in compare_inits(rows, test)] == [None]


def test_seeds_that_only_one_has_are_left_out() -> None:
    rows = [r for r in results(fractions=(1.0,)) if not (r.init == "SAR" and r.seed > 2)]
    (comparison,) = compare_inits(rows)
    assert comparison.n == 3
    assert "(n = 3)" in spread_table(rows, "fraction")
    alone = [r for r in rows if (r.init == "none") == (r.seed > 2)]
    assert compare_inits(alone) == []


def test_table_of_fractions() -> None:
    text = markdown(results())
    assert "### recognition, ships: overall accuracy" in text
    assert "| network | init | 10 % | 100 % |" in text
    assert text.count("**") == 4, "the better initialization of both columns is bold"
    assert "| resnet18 | SAR | **0." in text
    assert text.count("the paired t-test, two-sided") == 1
    assert text.count("Mean ± standard deviation over 5 seeds.") == 1


def test_table_of_metrics() -> None:
    rows = [Result("detection", "ssdd", "swin_t", "none", 1.0, 0, metric, 0.5) for metric in ("AP", "AP50")]
    text = markdown(rows, "metric")
    assert "| network | init | AP | AP50 |" in text
    assert "| swin_t | none | 0.500 | 0.500 |" in text
    assert "t-test" not in text and "One seed." in text


def test_a_value_that_is_there_twice_is_named() -> None:
    rows = results(seeds=1)
    with pytest.raises(InputError, match=r"resnet18, none, 0\.1, 0, overall_accuracy"):
        markdown([*rows, rows[0]])


def test_plot_shows_every_initialization(tmp_path: Path) -> None:
    plot_labels(results(), tmp_path / "plot.svg", "overall_accuracy")
    text = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    for words in ("resnet18", "none", "SAR", "10 %", "100 %", "overall accuracy"):
        assert f"<!-- {words} -->" in text
    with pytest.raises(InputError, match="AP50"):
        plot_labels(results(), tmp_path / "plot.svg", "AP50")


def test_report(tmp_path: Path) -> None:
    rows = results()
    text = write_report(rows, tmp_path)
    assert read_results(tmp_path / "results.csv") == rows
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == text
