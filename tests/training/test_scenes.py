"""The procedural pictures: deterministic, whole, and what their captions say."""

from dataclasses import replace

import numpy as np
import pytest

from training import pictures
from training.captions import caption, vocabulary
from training.palette import COLORS
from training.scenes import SHAPES, Scene, recolored, render, sample_scene


def test_one_seed_gives_one_scene_and_one_picture() -> None:
    first, second = (sample_scene(np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert (render(first, 128) == render(second, 128)).all()


@pytest.mark.parametrize("kind", [*SHAPES, "otter", "person"])
def test_the_whole_figure_is_inside_the_picture(kind: str) -> None:
    for seed in range(20):
        scene = sample_scene(np.random.default_rng(seed), kind)
        picture = render(scene, 256)
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (edge == COLORS[scene.background]).all(), scene


def test_every_size_shows_the_same_scene() -> None:
    scene = sample_scene(np.random.default_rng(1), "otter")
    silhouettes = [pictures.silhouette(render(scene, side)) for side in (256, 512, 1024)]
    assert all(pictures.overlap(silhouettes[0], other) > 0.95 for other in silhouettes[1:])


def test_a_recoloured_scene_keeps_everything_but_colours_and_berets() -> None:
    generator = np.random.default_rng(3)
    changed = 0
    for _ in range(60):
        scene = sample_scene(generator)
        before = recolored(scene, generator)
        assert replace(before, color=scene.color, background=scene.background, beret=scene.beret) == scene
        changed += before != scene
    assert changed > 40


def test_what_is_measured_is_what_was_painted() -> None:
    for shape in SHAPES:
        picture = render(Scene(shape, "green", "purple", center=(0.45, 0.55), angle=8), 256)
        assert pictures.shape_of(picture) == shape
        assert pictures.nearest_color(pictures.object_color(picture)) == "green"
        assert pictures.nearest_color(pictures.background(picture)) == "purple"


def test_an_otter_and_its_beret_are_told_from_none() -> None:
    otter = Scene("otter", None, "blue", center=(0.5, 0.53), size=0.38)
    with_beret = Scene("otter", None, "blue", beret="red", center=(0.5, 0.53), size=0.38)
    star = Scene("star", "orange", "blue")
    assert pictures.is_otter(render(otter, 256))
    assert pictures.is_otter(render(with_beret, 256))
    assert not pictures.is_otter(render(star, 256))
    assert pictures.has_beret(render(with_beret, 256), "red")
    assert not pictures.has_beret(render(otter, 256), "red")


def test_a_person_has_18_keypoints_inside_the_picture() -> None:
    for seed in range(50):
        pose = sample_scene(np.random.default_rng(seed), "person").keypoints()
        assert pose.shape == (18, 2)
        assert ((pose > 0) & (pose < 1)).all()


def test_captions_use_words_of_the_vocabulary_and_name_the_scene() -> None:
    words = set(vocabulary())
    scene = Scene("star", "red", "blue")
    captions = [caption(scene, np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(captions)) > 100
    assert sum("star" in text.lower() for text in captions) > 160
    assert {"otter", "beret", "background", "star", *COLORS} <= words
