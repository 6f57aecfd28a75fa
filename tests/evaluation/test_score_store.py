"""The work file: what was measured is not lost, and not mixed up with another run."""

import pytest
from drawn import drawn_prediction, drawn_truth

from humanparse.errors import OptionError
from humanparse.evaluation.overlap import measure
from humanparse.evaluation.score_store import ScoreStore

RUN = {"dataset": "photos", "model": "small", "scales": [1.0]}


def score(name: str):
    return measure(
        name, drawn_truth(("1122",), ("1122",)), drawn_prediction(("1.22",), ("1122",)), 3
    )


def names(path, resume=True) -> list[str]:
    with ScoreStore(path, RUN, resume) as file:
        return [one.name for one in file.scores()]


def test_scores_come_back_as_they_were(tmp_path):
    path = tmp_path / "work.jsonl"
    with ScoreStore(path, RUN, resume=False) as file:
        file.append(score("a"))
        file.append(score("b"))
        assert [one.name for one in file.scores()] == ["a", "b"]
    with ScoreStore(path, RUN, resume=True) as file:
        assert [one.to_dict() for one in file.scores()] == [
            score("a").to_dict(),
            score("b").to_dict(),
        ]


def test_a_line_that_was_cut_by_a_kill_is_dropped_wherever_it_was_cut(tmp_path):
    path = tmp_path / "work.jsonl"
    with ScoreStore(path, RUN, resume=False) as file:
        file.append(score("a"))
    whole = path.read_bytes()
    with ScoreStore(path, RUN, resume=True) as file:
        file.append(score("b"))
    second = path.read_bytes()[len(whole) :]
    for kept in (1, len(second) // 2, len(second) - 1):
        path.write_bytes(whole + second[:kept])
        with ScoreStore(path, RUN, resume=True) as file:
            file.append(score("c"))
        assert names(path) == ["a", "c"]


def test_earlier_work_is_never_overwritten_unasked(tmp_path):
    path = tmp_path / "work.jsonl"
    with ScoreStore(path, RUN, resume=False) as file:
        file.append(score("a"))
    with pytest.raises(OptionError, match="already exists: add --resume"):
        ScoreStore(path, RUN, resume=False)
    assert names(path) == ["a"]


def test_a_file_that_another_evaluation_writes_to_is_left_to_it(tmp_path):
    path = tmp_path / "work.jsonl"
    with ScoreStore(path, RUN, resume=False) as file:
        for resume in (False, True):
            with pytest.raises(
                OptionError, match=r"another evaluation is writing its scores to .*; wait"
            ):
                ScoreStore(path, RUN, resume)
        file.append(score("a"))
    assert names(path) == ["a"] and list(tmp_path.iterdir()) == [path]


def test_a_discarded_file_leaves_nothing_behind(tmp_path):
    with ScoreStore(tmp_path / "work.jsonl", RUN, resume=False) as file:
        file.append(score("a"))
        file.discard()
    assert not list(tmp_path.iterdir())


def test_a_run_that_broke_off_before_its_first_picture_left_nothing_to_lose(tmp_path):
    path = tmp_path / "work.jsonl"
    ScoreStore(path, RUN, resume=False).__exit__()
    other = {**RUN, "model": "large"}
    with ScoreStore(path, other, resume=False) as file:
        assert list(file.scores()) == []


def test_another_runs_file_is_refused_and_what_differs_is_named(tmp_path):
    path = tmp_path / "work.jsonl"
    ScoreStore(path, RUN, resume=False).__exit__()
    with pytest.raises(
        OptionError, match="belongs to another run: its model is 'small' but now it is 'large'"
    ):
        ScoreStore(path, {**RUN, "model": "large"}, resume=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shopping list\n",
        "[1, 2]\n",
        "[" * 100_000,
        '{"schema": "something else"}\n',
    ],
)
def test_a_file_that_is_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "precious.txt"
    path.write_text(text)
    for resume in (False, True):
        with pytest.raises(OptionError):
            ScoreStore(path, RUN, resume)
    assert path.read_text() == text


@pytest.mark.parametrize("line", ["{}", "[" * 100_000])
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    path = tmp_path / "work.jsonl"
    with ScoreStore(path, RUN, resume=False) as file:
        file.append(score("a"))
    path.write_text(path.read_text() + f"{line}\n")
    with pytest.raises(OptionError, match="line 3 is damaged"):
        names(path)
