"""A quick form of the evaluation: a few prompts at 256 pixels, through diffusers' own pipelines."""

import numpy as np
import pytest

from training import pictures
from training.evaluate import Evaluation
from training.palette import COLORS
from training.scenes import render, sample_scene


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return Evaluation(side_px=256, count=8)


def share(evaluation: Evaluation, what: str) -> float:
    score = evaluation.scores[what]
    return score.right / score.count


def test_objects_and_backgrounds_have_the_colours_that_were_asked_for(evaluation: Evaluation) -> None:
    evaluation.shapes()
    assert share(evaluation, "object colour") >= 0.75
    assert share(evaluation, "background colour") >= 0.75


def test_shapes_are_the_ones_that_were_asked_for(evaluation: Evaluation) -> None:
    evaluation.shapes()
    assert share(evaluation, "shape") >= 0.6


def test_a_beret_is_worn_when_told_to(evaluation: Evaluation) -> None:
    evaluation.otters()
    assert share(evaluation, "beret") >= 0.6
    assert share(evaluation, "no beret") >= 0.6


def test_an_otter_is_an_otter(evaluation: Evaluation) -> None:
    evaluation.otters()
    assert share(evaluation, "otter") >= 0.6


def test_the_estimator_finds_the_pose_of_a_painted_figure(evaluation: Evaluation) -> None:
    for seed in range(4):
        scene = sample_scene(np.random.default_rng(seed), "person")
        found = evaluation.model.found_pose(render(scene, 256))
        assert found is not None
        assert (np.linalg.norm(found - scene.keypoints(), axis=1) <= 0.04).mean() >= 0.9


def test_the_skeleton_decides_the_pose(evaluation: Evaluation) -> None:
    evaluation.poses()
    with_it, without = (share(evaluation, f"{how} ControlNet, within 8 %") for how in ("with", "without"))
    assert with_it >= 0.5
    assert with_it > without + 0.2


def test_two_seeds_differ_and_one_seed_repeats(evaluation: Evaluation) -> None:
    evaluation.seeds()
    assert share(evaluation, "two seeds differ") == 1
    assert share(evaluation, "one seed repeats") == 1


def test_nobody_is_found_where_nobody_is(evaluation: Evaluation) -> None:
    for seed, kind in enumerate(("circle", "star", "otter")):
        assert evaluation.model.found_pose(render(sample_scene(np.random.default_rng(seed), kind), 256)) is None


def test_a_prompt_of_unknown_words_gives_a_picture_of_the_palette(evaluation: Evaluation) -> None:
    for picture in evaluation.model.draw(["the quick zyzzyva jumps", "Quarterly report, page 7"]):
        ground = pictures.background(picture)
        assert np.linalg.norm(ground - COLORS[pictures.nearest_color(ground)]) < 60
