"""Prompts of any length → SDXL's text conditioning, remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from deployments.diffusion.transfer import to_device
from deployments.errors import PromptTooLong


@dataclass(frozen=True)
class Prompt:
    """A tokenized prompt."""

    ids: tuple[tuple[int, ...], ...]
    """The tokens for each of the two text encoders, without start and end marks and padding."""
    chunks: int
    """How many chunks of 75 tokens they fill; at least one."""

    @property
    def tokens(self) -> int:
        return len(self.ids[0])


class Embedding(NamedTuple):
    """What the UNet is told of one prompt."""

    sequence: torch.Tensor
    """(1, 77 x chunks, features)"""
    pooled: torch.Tensor
    """(1, features)"""

    @property
    def size_bytes(self) -> int:
        return self.sequence.nbytes + self.pooled.nbytes

    def zeros(self) -> Embedding:
        return Embedding(torch.zeros_like(self.sequence), torch.zeros_like(self.pooled))


class PromptEncoder:
    """Both text encoders of a pipeline, with the least recently used embeddings forgotten.

    CLIP reads 77 tokens. A longer prompt is read in chunks of 75 tokens, each with its start and end mark and padding;
    the chunks' embeddings follow each other in the sequence, and the pooled embedding is the first chunk's. A prompt of
    one chunk gives what the pipeline's `encode_prompt` gives.
    """

    def __init__(self, pipeline: Any, max_chunks: int, cache_bytes: int) -> None:
        self._tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
        self._encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
        self._chunk_tokens = pipeline.tokenizer.model_max_length - 2
        self._max_chunks = max_chunks
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[tuple[Prompt, int], Embedding] = OrderedDict()
        self._cached_bytes = 0
        self._tokenizing = threading.Lock()  # a fast tokenizer can't be used by two threads at once

    def tokenize(self, text: str, param: str) -> Prompt:
        """Splits `text` into tokens; `param` is what the request calls it.

        Raises:
            PromptTooLong: it has more tokens than the configured chunks hold.
        """
        with self._tokenizing:
            ids = tuple(
                tuple(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
                for tokenizer in self._tokenizers
            )
        tokens = max(len(each) for each in ids)
        limit = self._max_chunks * self._chunk_tokens
        if tokens > limit:
            raise PromptTooLong(f"{param} has {tokens} tokens; this model takes up to {limit}.", param)
        return Prompt(ids, max(1, -(-tokens // self._chunk_tokens)))

    def encode(self, wanted: Sequence[tuple[Prompt, int]]) -> list[Embedding]:
        """The embeddings of prompts, each filled up with empty chunks to the number that stands beside it.

        Those that are not remembered go through the text encoders together.
        """
        found = {key: self._cache[key] for key in wanted if key in self._cache}
        missing = [key for key in dict.fromkeys(wanted) if key not in found]
        if missing:
            found.update(zip(missing, self._encode(missing), strict=True))
        for key in dict.fromkeys(wanted):
            self._remember(key, found[key])
        return [found[key] for key in wanted]

    def _encode(self, wanted: Sequence[tuple[Prompt, int]]) -> list[Embedding]:
        features = []
        for which, (tokenizer, encoder) in enumerate(zip(self._tokenizers, self._encoders, strict=True)):
            ids = [row for prompt, chunks in wanted for row in self._rows(tokenizer, prompt.ids[which], chunks)]
            output = encoder(to_device(torch.tensor(ids), encoder.device), output_hidden_states=True)
            features.append(output.hidden_states[-2])  # SDXL reads the layer before the last
        sequences = torch.cat([each.to(output.text_embeds.dtype) for each in features], dim=-1)
        embeddings, row = [], 0
        for _, chunks in wanted:
            # Clones: a view would keep the whole batch in memory while it is remembered.
            sequence = sequences[row : row + chunks].flatten(0, 1)[None].clone()
            embeddings.append(Embedding(sequence, output.text_embeds[row : row + 1].clone()))
            row += chunks
        return embeddings

    def _rows(self, tokenizer: Any, ids: tuple[int, ...], chunks: int) -> list[list[int]]:
        rows = []
        for start in range(0, chunks * self._chunk_tokens, self._chunk_tokens):
            chunk = list(ids[start : start + self._chunk_tokens])
            padding = [tokenizer.pad_token_id] * (self._chunk_tokens - len(chunk))
            rows.append([tokenizer.bos_token_id, *chunk, tokenizer.eos_token_id, *padding])
        return rows

    def _remember(self, key: tuple[Prompt, int], embedding: Embedding) -> None:
        if key not in self._cache:
            self._cached_bytes += embedding.size_bytes
        self._cache[key] = embedding
        self._cache.move_to_end(key)
        while self._cached_bytes > self._cache_bytes:
            _, forgotten = self._cache.popitem(last=False)
            self._cached_bytes -= forgotten.size_bytes
