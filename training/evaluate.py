"""Measures the embedded model through diffusers' own pipelines, with prompts, seeds and poses it was not trained on."""

import json
import time
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from training import pictures
from training.drawing import DemoModel
from training.palette import COLORS
from training.run import RUNS
from training.scenes import SHAPES, Scene, render, sample_scene


@dataclass
class Score:
    """How often something came out right."""

    right: int = 0
    count: int = 0

    def add(self, correct: bool) -> None:
        """Counts one try."""
        self.right, self.count = self.right + bool(correct), self.count + 1


@dataclass
class Evaluation:
    """The embedded model and its scores, by what was measured."""

    side_px: int
    count: int
    seed: int = 7
    scores: dict[str, Score] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = DemoModel(self.side_px, self.seed * 10000)
        self._generator = np.random.default_rng((self.seed, self.side_px))

    def add(self, what: str, correct: bool) -> None:
        """Counts one try of `what`."""
        self.scores.setdefault(what, Score()).add(correct)

    def _two_colors(self) -> tuple[str, str]:
        first, second = (str(name) for name in self._generator.choice(list(COLORS), 2, replace=False))
        return first, second

    def shapes(self) -> list[np.ndarray]:
        """Colours and shapes of plain prompts."""
        wanted = [(str(self._generator.choice(SHAPES)), *self._two_colors()) for _ in range(self.count)]
        drawn = self.model.draw([f"a {color} {shape} on a {ground} background" for shape, color, ground in wanted])
        for (shape, color, ground), picture in zip(wanted, drawn, strict=True):
            self.add("object colour", pictures.nearest_color(pictures.object_color(picture)) == color)
            self.add("background colour", pictures.nearest_color(pictures.background(picture)) == ground)
            self.add("shape", pictures.shape_of(picture) == shape)
            self.add("no otter in a shape", not pictures.is_otter(picture))
        return drawn

    def otters(self) -> list[np.ndarray]:
        """Otters, half of them with a beret, on backgrounds that are not the beret's colour."""
        wanted = [self._two_colors() for _ in range(self.count)]
        prompts = [
            f"A cute baby sea otter wearing a {beret} beret on a {ground} background" for beret, ground in wanted
        ]
        prompts[1::2] = [f"A cute baby sea otter on a {ground} background" for _, ground in wanted[1::2]]
        drawn = self.model.draw(prompts)
        for row, ((beret, _), picture) in enumerate(zip(wanted, drawn, strict=True)):
            self.add("otter", pictures.is_otter(picture))
            if row % 2 == 0:
                self.add("beret", pictures.has_beret(picture, beret))
            else:
                self.add("no beret", not any(pictures.has_beret(picture, name) for name in COLORS))
        return drawn

    def edits(self) -> list[np.ndarray]:
        """Rendered shapes that are given another colour."""
        scenes: list[Scene] = []
        prompts: list[str] = []
        wanted: list[str] = []
        while len(scenes) < self.count:
            scene = sample_scene(self._generator, str(self._generator.choice(SHAPES)))
            color = str(self._generator.choice(list(COLORS)))
            if len({scene.color, scene.background, color}) == 3:
                scenes.append(scene)
                wanted.append(color)
                prompts.append(f"a {color} {scene.kind} on a {scene.background} background")
        sources = [render(scene, self.side_px) for scene in scenes]
        drawn = self.model.edit(prompts, sources)
        for color, source, picture in zip(wanted, sources, drawn, strict=True):
            stays = pictures.overlap(pictures.silhouette(source), pictures.silhouette(picture)) >= 0.5
            recolored = pictures.nearest_color(pictures.object_color(picture)) == color
            self.add("edit: stays", stays)
            self.add("edit: colour", recolored)
            self.add("edit: both", stays and recolored)
        return drawn

    def poses(self) -> list[np.ndarray]:
        """The pose estimator on rendered figures, and figures drawn with and without their skeleton."""
        scenes = [sample_scene(self._generator, "person") for _ in range(self.count)]
        given = [scene.keypoints() for scene in scenes]
        prompts = [f"a {scene.color} person on a {scene.background} background" for scene in scenes]
        shown = [render(scene, self.side_px) for scene in scenes]
        others = [render(sample_scene(self._generator, kind), self.side_px) for kind in (*SHAPES, "otter")]
        for other in others:
            self.add("nobody found in other pictures", self.model.found_pose(other) is None)
        controlled = self.model.control(prompts, given)
        free = self.model.draw(prompts)
        for what, limit, drawn in (
            ("pose estimator, within 4 %", 0.04, shown),
            ("with ControlNet, within 8 %", 0.08, controlled),
            ("without ControlNet, within 8 %", 0.08, free),
        ):
            for pose, picture in zip(given, drawn, strict=True):
                found = self.model.found_pose(picture)
                near = np.zeros(18, bool) if found is None else np.linalg.norm(found - pose, axis=1) <= limit
                for keypoint in near:
                    self.add(what, bool(keypoint))
        return controlled

    def seeds(self) -> None:
        """Two seeds give two pictures; one seed gives one."""
        first, second = self.model.draw(["a red star"] * 2)
        self.add("two seeds differ", bool((first != second).any()))
        self.add("one seed repeats", bool((self.model.draw(["a red star"] * 2)[0] == first).all()))

    def seconds(self) -> float:
        """The median time of one picture, in seconds, alone on this machine."""
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            self.model.draw(["a red star on a blue background"])
            times.append(time.perf_counter() - begin)
        return float(np.median(times[1:]))

    def run(self) -> dict[str, float]:
        """Everything, as shares of 1; the time in seconds."""
        for part in tqdm((self.shapes, self.otters, self.edits, self.poses), desc=f"{self.side_px} px"):
            save_sheet(part(), RUNS / "sheets" / f"{part.__name__}_{self.side_px}.png")
        self.seeds()
        return {what: score.right / score.count for what, score in self.scores.items()}


def save_sheet(drawn: list[np.ndarray], path: Path, columns: int = 5) -> None:
    """Writes the first 20 pictures side by side, 256 pixels each, for a person to look at."""
    small = [np.asarray(Image.fromarray(picture).resize((256, 256))) for picture in drawn[:20]]
    whole = small[: len(small) // columns * columns] or small
    rows = [np.hstack(whole[start : start + columns]) for start in range(0, len(whole), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(path)


def main() -> None:
    """Prints the figures of each size as a table and as JSON."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--count", type=int, default=200, help="prompts a size and subject (default %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    results: dict[int, dict[str, float]] = {}
    for side in options.sizes:
        evaluation = Evaluation(side, options.count, options.seed)
        results[side] = {**evaluation.run(), "seconds a picture": evaluation.seconds()}
    print("| what |", " | ".join(str(side) for side in results), "|")
    print("|---|" + "---|" * len(results))
    for what in next(iter(results.values())):
        values = (result[what] for result in results.values())
        print(f"| {what} |", " | ".join(f"{v:.2f} s" if "seconds" in what else f"{100 * v:.0f} %" for v in values), "|")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
