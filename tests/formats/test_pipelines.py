"""pipelines.py: the forms of other pipelines."""

import numpy as np
from made_up import empty_parsing, made_up_parsing, parsing_from_maps

from humanparse import formats
from humanparse.labels import LabelSet


def test_modelscopes_form_has_a_mask_a_label_and_a_score_for_every_part_and_person():
    parsing = made_up_parsing()
    found = parsing.to_modelscope()
    assert len(found["masks"]) == len(found["labels"]) == len(found["scores"]) == 14
    assert found["labels"][-2:] == ["Human", "Human"] and found["labels"].count("Left-arm") == 2
    assert {mask.shape for mask in found["masks"]} == {(120, 160)} and found["masks"][
        0
    ].dtype == np.float32
    assert (sum(found["masks"][-2:]) == (parsing.person_map > 0)).all()
    assert empty_parsing().to_modelscope() == {"masks": [], "labels": [], "scores": []}


def test_people_have_a_name_that_no_class_of_the_model_has():
    labels = LabelSet("mine", ("Background", "Human"))
    parsing = parsing_from_maps(
        np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint16), labels=labels
    )
    assert parsing.to_modelscope()["labels"] == ["Human", "whole-Human"]


def test_hugging_faces_form_is_a_list_of_labels_scores_and_greyscale_masks():
    parsing = made_up_parsing()
    found = formats.to_huggingface(parsing)
    assert [one["label"] for one in found] == parsing.to_modelscope()["labels"]
    assert {tuple(one) for one in found} == {("label", "score", "mask")}
    assert (
        found[-1]["mask"].mode == "L"
        and found[-1]["mask"].size == (160, 120)
        and found[-1]["score"] == 0.8
    )
    assert np.array_equal(np.asarray(found[-1]["mask"]), (parsing.person_map == 2) * np.uint8(255))
    assert formats.to_huggingface(empty_parsing()) == []
