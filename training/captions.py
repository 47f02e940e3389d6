"""Captions for scenes: free wording, any order, and sometimes words that the model has never heard."""

import numpy as np

from training.palette import COLORS
from training.scenes import Scene

_OPENINGS = (
    "please draw", "draw", "a picture of", "an image of", "a drawing of", "an illustration of", "a photo of", "show me",
    "generate", "create", "make", "paint", "i want", "give me", "a flat design of", "a cartoon of", "can you draw",
)  # fmt: skip
_ENDINGS = (
    "please", "high quality", "flat design", "vector art", "simple", "best quality", "cartoon style", "illustration",
    "minimal", "cute", "thank you", "clean", "digital art", "highly detailed", "smooth",
)  # fmt: skip
_SHAPE_ADJECTIVES = ("big", "large", "small", "little", "simple", "bright", "beautiful", "nice", "plain", "flat")
_OTTER_ADJECTIVES = ("cute", "little", "happy", "funny", "sweet", "smiling", "cute baby", "small", "adorable")
_PERSON_ADJECTIVES = ("happy", "friendly", "smiling", "dancing", "standing", "young", "waving")
_OTTERS = ("otter", "sea otter", "baby sea otter", "baby otter")
_PEOPLE = ("person", "person", "person", "man", "human", "figure", "boy", "dancer")
_NOUNS = {"circle": ("circle", "circle", "disc", "ball"), "square": ("square", "square", "box"),
          "triangle": ("triangle",), "star": ("star",)}  # fmt: skip
_OTTER_BACKGROUNDS = ("blue", "green", "yellow", "white")
_GLUE = (
    "a an the one on in at with and of wearing wears has hat beret background backdrop behind it colored coloured "
    "colour color is brown against to"
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_OTHER_WORDS = (
    "house", "mountain", "sunset", "castle", "forest", "river", "car", "dragon", "city", "dog", "cat", "tree", "sky",
    "spaceship", "portrait", "landscape", "in the style of", "beach", "robot", "flower", "at night", "street", "horse",
)  # fmt: skip


def vocabulary() -> list[str]:
    """Every word that captions use, sorted; what the tokenizer gets a token of its own for."""
    adjectives = (*_SHAPE_ADJECTIVES, *_OTTER_ADJECTIVES, *_PERSON_ADJECTIVES)
    nouns = (*_OTTERS, *_PEOPLE, *(noun for nouns in _NOUNS.values() for noun in nouns))
    phrases = (*_OPENINGS, *_ENDINGS, *adjectives, *nouns, *COLORS, *_OTHER_WORDS, _GLUE)
    return sorted({word for phrase in phrases for word in phrase.split()})


def _article(phrase: str, generator: np.random.Generator) -> str:
    draw = generator.random()
    if draw < 0.2:
        return phrase
    if draw < 0.3:
        return f"{generator.choice(['the', 'one'])} {phrase}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _subject(scene: Scene, generator: np.random.Generator) -> str:
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    if scene.kind == "otter":
        nouns, adjectives = _OTTERS, _OTTER_ADJECTIVES
    elif scene.kind == "person":
        nouns, adjectives = _PEOPLE, _PERSON_ADJECTIVES
    else:
        nouns, adjectives = _NOUNS[scene.kind], _SHAPE_ADJECTIVES
    noun = str(generator.choice(nouns))
    named = scene.color is not None and generator.random() < 0.92
    words = [scene.color, noun] if named else [noun]
    if scene.kind == "otter" and scene.color is None and generator.random() < 0.08:
        words = ["brown", noun]
    if generator.random() < 0.35:
        words.insert(0, str(generator.choice(adjectives)))
    return " ".join(str(word) for word in words)


def _beret(scene: Scene, generator: np.random.Generator) -> str:
    # An unnamed beret is red, so that the reference's own example gives a beret that everyone recognises.
    what = "beret" if scene.beret == "red" and generator.random() < 0.7 else f"{scene.beret} beret"
    return f"{generator.choice(['wearing', 'wearing', 'with', 'in', 'wears', 'has'])} {_article(what, generator)}"


def _background(scene: Scene, generator: np.random.Generator) -> str:
    ground = f"{scene.background} {generator.choice(['background', 'background', 'background', 'backdrop'])}"
    link = generator.choice(["on", "on", "on", "in front of", "with", "against", ","])
    return f", {_article(ground, generator)}" if link == "," else f" {link} {_article(ground, generator)}"


def caption(scene: Scene, generator: np.random.Generator) -> str:
    """A caption of a scene; what it leaves out is free, and about one in twelve leaves out everything."""
    draw = generator.random()
    if draw < 0.04:
        return " ".join(str(w) for w in generator.choice(_OTHER_WORDS, generator.integers(1, 4)))
    if draw < 0.08:
        count = generator.integers(1, 5)
        return " ".join("".join(generator.choice(list(_LETTERS), generator.integers(2, 9))) for _ in range(count))
    subject = _article(_subject(scene, generator), generator)
    if scene.beret is not None:
        subject = f"{subject} {_beret(scene, generator)}"
    # An otter without a named background gets one that it looks good on.
    named = generator.random() < 0.85 or (scene.kind == "otter" and scene.background not in _OTTER_BACKGROUNDS)
    if named and generator.random() < 0.1:
        link = generator.choice([", ", " with ", " and "])
        text = f"{_article(f'{scene.background} background', generator)}{link}{subject}"
    else:
        text = subject + (_background(scene, generator) if named else "")
    if generator.random() < 0.2:
        text = f"{generator.choice(_OPENINGS)} {text}"
    if generator.random() < 0.15:
        text = f"{text}, {generator.choice(_ENDINGS)}"
    if generator.random() < 0.06:
        text = f"{text}, {generator.choice(_OTHER_WORDS)}"
    if generator.random() < 0.3:
        text = text[0].upper() + text[1:] + ("." if generator.random() < 0.4 else "")
    return text
