"""The answer key: repeated writing, contradictions, crashes, and what the judge reads."""

import json

import numpy as np
import pytest

from fedunlearn.errors import DataError
from fedunlearn.judging import AnswerKey, Answers


def test_what_was_written_is_read(tmp_path):
    key = AnswerKey(tmp_path / "answers")
    key.write_update("trunk", 1, 0, np.array([7, 3]), [1, 0])
    key.write_request("request-1", (4,), {2: np.array([10, 11]), 0: np.array([5])})
    key.write_candidates([5, 6], np.array([True, False]))
    answers = Answers(tmp_path / "answers")
    update = answers.update("trunk", 1, 0)
    assert (update.sample_ids.tolist(), update.labels.tolist()) == ([7, 3], [1, 0])
    request = answers.request("request-1")
    assert request.classes == {4}
    assert {client: ids.tolist() for client, ids in request.sample_ids.items()} == {0: [5], 2: [10, 11]}
    candidates = answers.candidates()
    assert (candidates.sample_ids.tolist(), candidates.member.tolist()) == ([5, 6], [True, False])


def test_a_branch_shares_the_rounds_of_the_trunk(tmp_path):
    key = AnswerKey(tmp_path)
    key.write_update("trunk", 1, 0, [7], [1])
    key.write_update("federaser", 2, 0, [8], [2])
    answers = Answers(tmp_path)
    assert answers.update("federaser", 1, 0).labels.tolist() == [1]
    assert answers.update("federaser", 2, 0).labels.tolist() == [2]


def test_writing_again_after_a_resume_changes_nothing(tmp_path):
    for _ in range(2):
        key = AnswerKey(tmp_path)
        for _ in range(2):
            key.write_update("trunk", 1, 0, np.array([7, 3]), np.array([1, 0]))
    assert len((tmp_path / "updates.jsonl").read_text().splitlines()) == 1


def test_another_value_under_the_same_key_is_an_error(tmp_path):
    AnswerKey(tmp_path).write_request("request-1", (4,), {})
    with pytest.raises(DataError, match=r"request-1.*another run"):
        AnswerKey(tmp_path).write_request("request-1", (5,), {})


def test_a_line_cut_off_by_a_crash_is_written_again(tmp_path):
    key = AnswerKey(tmp_path)
    key.write_update("trunk", 1, 0, [7], [1])
    key.write_update("trunk", 1, 1, [8], [1])
    path = tmp_path / "updates.jsonl"
    path.write_text(path.read_text()[:-9])
    again = AnswerKey(tmp_path)
    again.write_update("trunk", 1, 0, [7], [1])
    again.write_update("trunk", 1, 1, [8], [1])
    assert [json.loads(line)["key"][2] for line in path.read_text().splitlines()] == [0, 1]
    assert Answers(tmp_path).update("trunk", 1, 1).sample_ids.tolist() == [8]


def test_missing_answers_are_named(tmp_path):
    answers = Answers(tmp_path)
    with pytest.raises(DataError, match="client 3 in round 2 of finetune"):
        answers.update("finetune", 2, 3)
    with pytest.raises(DataError, match="request-9"):
        answers.request("request-9")
    with pytest.raises(DataError, match="no membership candidates"):
        answers.candidates()


def test_samples_and_labels_must_pair_up(tmp_path):
    with pytest.raises(ValueError, match="2 samples with 1 labels"):
        AnswerKey(tmp_path).write_update("trunk", 1, 0, [1, 2], [1])
