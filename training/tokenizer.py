"""Builds CLIP's byte-level BPE tokenizer for the words that the captions use, with bytes for all others."""

import json
from pathlib import Path

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from training.captions import vocabulary
from training.run import DEMO

_END = "</w>"


def byte_pairs(words: list[str]) -> list[tuple[str, str]]:
    """Merges, in order, after which each of the words is a single token."""
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = [*word[:-1], word[-1] + _END]
        for pair in merges:
            pieces = _joined(pieces, pair)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _joined(pieces, merges[-1])
    return merges


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def build_tokenizer() -> CLIPTokenizer:
    """The tokenizer; its last token ends a text and fills it up to 77 tokens, as CLIP's first one does."""
    letters = list(bytes_to_unicode().values())  # type: ignore[no-untyped-call]
    merges = byte_pairs(vocabulary())
    tokens = [*letters, *(letter + _END for letter in letters), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)  # type: ignore[arg-type]


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the tokenizer, and `vocab.json` and `merges.txt` for tools that read CLIP's older files."""
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n")
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")


def main() -> None:
    """Writes both tokenizers of the embedded model."""
    for name in ("tokenizer", "tokenizer_2"):
        save_tokenizer(build_tokenizer(), DEMO / "model" / name)


if __name__ == "__main__":
    main()
