"""The table that the benchmarks share: it is read back as written, and seeds are compared pair by pair."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.experiments.initializations import Initialization
from benchmarks.experiments.results import (
    COLUMNS,
    compare,
    markdown,
    merged,
    plot_labels,
    read_results,
    table,
    write_report,
    write_results,
)
from benchmarks.experiments.trial import Trial
from sarhub_models.errors import DataError, InputError


def results(gain: float = 0.1, seeds: int = 5, fractions: tuple[float, ...] = (0.1, 1.0)) -> pd.DataFrame:
    """Two initializations whose seeds differ much more than they do."""
    rng = random.Random(0)
    rows = []
    for seed in range(seeds):
        base = rng.uniform(0.3, 0.7)
        for fraction in fractions:
            for init, value in (("none", base), ("SAR", base + gain + rng.uniform(-0.01, 0.01))):
                rows.append(("recognition", "ships", "resnet18", init, fraction, seed, "overall_accuracy", value))
    return frame(rows)


def frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"fraction": float, "seed": int, "value": float})


_texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)
_rows = st.tuples(
    *(_texts, _texts, _texts, _texts),
    st.floats(1e-3, 1),
    st.integers(0, 1000),
    _texts,
    st.floats(allow_nan=False, allow_infinity=False),
)


@pytest.mark.slow
@given(st.lists(_rows, min_size=1, max_size=5))
def test_rows_are_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]) -> None:
    file = tmp_path_factory.mktemp("table") / "results.csv"
    write_results(frame(rows), file)
    assert list(read_results(file).itertuples(index=False, name=None)) == rows


def test_tables_of_earlier_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(
        ",".join(COLUMNS) + '\r\n"recognition, nearest neighbours",chips,resnet18,none,0.1,0,macro_f1,0.5\r\n'
    )
    assert list(read_results(tmp_path / "results.csv")["task"]) == ["recognition, kNN"]


def test_scores_of_trials_become_rows() -> None:
    trial = Trial("detection", "ssdd", "resnet18", Initialization("SAR", "resnet18_tsx"), 0.5, 3)
    assert list(table({trial: {"AP": 0.25}}).itertuples(index=False, name=None)) == [
        ("detection", "ssdd", "resnet18", "SAR", 0.5, 3, "AP", 0.25)
    ]


def test_new_rows_take_the_place_of_those_of_the_same_runs() -> None:
    old = results(seeds=2)
    new = pd.concat([old.iloc[2:3].assign(value=0.9), old.iloc[:1].assign(seed=7)])
    both = merged(old, new)
    assert list(both["value"]) == [*old["value"][:2], 0.9, *old["value"][3:], old["value"][0]]
    assert both["seed"].iloc[-1] == 7


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
        write_results(frame([]), tmp_path / "results.csv")


def test_pairs_are_compared_by_seed_and_not_by_their_order() -> None:
    rows = results()
    none, sar = (rows[(rows["init"] == init) & (rows["fraction"] == 0.1)]["value"] for init in ("none", "SAR"))
    expected = stats.ttest_rel(sar, none).pvalue
    shuffled = pd.concat([rows.iloc[:1], rows.iloc[1:].sample(frac=1, random_state=1)])
    one, two = compare(shuffled).sort_values("fraction").itertuples()
    assert (one.base, one.other, one.n) == ("none", "SAR", 5)
    assert one.difference == pytest.approx(0.1, abs=0.01)
    assert one.deviation < 0.01, "the spread of the seeds themselves, 0.1, does not count"
    assert one.p == pytest.approx(expected)
    assert two.fraction == 1.0


def test_wilcoxon_of_five_pairs_of_one_sign() -> None:
    assert list(compare(results(), "wilcoxon")["p"]) == pytest.approx([2 / 2**5] * 2)


def test_one_seed_is_compared_but_not_tested() -> None:
    rows = results(seeds=1, fractions=(1.0,))
    found = compare(rows)
    assert list(found["n"]) == [1] and found["p"].isna().all()
    assert "| – | 1 |" in markdown(rows)


def test_differences_that_do_not_vary_are_not_tested() -> None:
    rows = frame([("t", "d", "n", i, 1.0, s, "m", 0.5 + 0.25 * (i == "b")) for s in range(3) for i in "ab"])
    assert len(compare(rows, "t")) == 1
    assert compare(rows, "t")["p"].isna().all() and compare(rows, "wilcoxon")["p"].isna().all()


def test_seeds_that_only_one_has_are_left_out() -> None:
    rows = results(fractions=(1.0,))
    rows = rows[~((rows["init"] == "SAR") & (rows["seed"] > 2))]
    assert list(compare(rows)["n"]) == [3]
    assert "(n = 3)" in markdown(rows)
    alone = rows[(rows["init"] == "none") == (rows["seed"] > 2)]
    assert compare(alone).empty


def test_table_of_fractions() -> None:
    text = markdown(results())
    assert "### recognition, ships: overall accuracy" in text
    assert "| network | init | 10 % | 100 % |" in text
    assert text.count("**") == 4, "the better initialization of both columns is bold"
    assert "| resnet18 | SAR | **0." in text
    assert text.count("the paired t-test, two-sided") == 1
    assert text.count("Mean ± standard deviation over 5 seeds.") == 1


def test_table_of_metrics() -> None:
    rows = frame([("detection", "ssdd", "swin_t", "none", 1.0, 0, metric, 0.5) for metric in ("AP", "AP50")])
    text = markdown(rows, "metric")
    assert "| network | init | AP | AP50 |" in text
    assert "| swin_t | none | 0.500 | 0.500 |" in text
    assert "t-test" not in text and "One seed." in text


def test_a_value_that_is_there_twice_is_named() -> None:
    rows = results(seeds=1)
    with pytest.raises(InputError, match=r"resnet18, none, 0\.1, 0, overall_accuracy"):
        markdown(pd.concat([rows, rows.iloc[:1]]))


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
    pd.testing.assert_frame_equal(read_results(tmp_path / "results.csv"), rows)
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == text
