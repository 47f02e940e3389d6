"""Prompts of any length."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.diffusion.components import Components
from deployments.diffusion.prompts import Embedding, Prompt, PromptEncoder
from deployments.errors import PromptTooLong


@pytest.fixture
def encoder(components: Components) -> PromptEncoder:
    return PromptEncoder(components.text_to_image, max_chunks=3, cache_bytes=10_000_000)


def encode_one(encoder: PromptEncoder, text: str, chunks: int | None = None) -> Embedding:
    prompt = encoder.tokenize(text, "prompt")
    with torch.inference_mode():
        return encoder.encode([(prompt, chunks or prompt.chunks)])[0]


@settings(max_examples=15, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=18))
def test_one_chunk_equals_the_pipeline_exactly(encoder: PromptEncoder, components: Components, text: str) -> None:
    ours = encode_one(encoder, text)
    with torch.inference_mode():
        sequence, _, pooled, _ = components.text_to_image.encode_prompt(text, do_classifier_free_guidance=False)
    assert ours.sequence.shape == sequence.shape
    assert torch.equal(ours.sequence, sequence)
    assert torch.equal(ours.pooled, pooled)


def test_a_long_prompt_is_its_chunks_one_after_another(encoder: PromptEncoder) -> None:
    prompt = encoder.tokenize("red " * 75 + "blue cat", "prompt")
    assert (prompt.tokens, prompt.chunks) == (77, 2)
    embedding = encode_one(encoder, "red " * 75 + "blue cat")
    first, second = encode_one(encoder, "red " * 75), encode_one(encoder, "blue cat")
    torch.testing.assert_close(embedding.sequence, torch.cat([first.sequence, second.sequence], 1))
    torch.testing.assert_close(embedding.pooled, first.pooled)


def test_a_short_prompt_is_filled_up_with_empty_chunks(encoder: PromptEncoder) -> None:
    filled = encode_one(encoder, "a red cat", chunks=2)
    parts = encode_one(encoder, "a red cat"), encode_one(encoder, "")
    torch.testing.assert_close(filled.sequence, torch.cat([part.sequence for part in parts], 1))


def test_nothing_is_cut_silently(encoder: PromptEncoder) -> None:
    assert encoder.tokenize("red " * 225, "prompt").chunks == 3
    with pytest.raises(PromptTooLong, match=r"226 tokens.* 225") as refusal:
        encoder.tokenize("red " * 226, "negative_prompt")
    assert refusal.value.param == "negative_prompt"


def test_remembered_embeddings_are_bounded_in_bytes(components: Components) -> None:
    calls: list[int] = []
    components.text_to_image.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    size_bytes = encode_one(PromptEncoder(components.text_to_image, 1, 0), "a").size_bytes
    calls.clear()
    encoder = PromptEncoder(components.text_to_image, 1, 2 * size_bytes)
    for text in ("a", "b", "a", "c", "a", "b"):  # b is the least recently used when c comes
        encode_one(encoder, text)
    assert len(calls) == 4


def test_prompts_are_encoded_together(encoder: PromptEncoder, components: Components) -> None:
    rows: list[int] = []
    components.text_to_image.text_encoder.register_forward_pre_hook(lambda _, ids: rows.append(len(ids[0])))
    prompts: list[tuple[Prompt, int]] = [(encoder.tokenize(text, "prompt"), 1) for text in ("a", "b", "a", "c")]
    with torch.inference_mode():
        encoder.encode(prompts)
    assert rows == [3]
