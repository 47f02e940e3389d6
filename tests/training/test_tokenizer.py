"""The tokenizer: one token a known word, bytes for all others, 77 tokens in all."""

from training.captions import vocabulary
from training.tokenizer import build_tokenizer


def test_every_word_of_the_captions_is_one_token() -> None:
    tokenizer = build_tokenizer()
    assert [word for word in vocabulary() if len(tokenizer.tokenize(word)) != 1] == []


def test_unknown_words_keep_all_their_letters() -> None:
    tokenizer = build_tokenizer()
    assert "".join(tokenizer.tokenize("zyzzyva")) == "zyzzyva</w>"
    assert tokenizer.unk_token_id not in tokenizer("水獺 ÿ", add_special_tokens=False).input_ids


def test_a_prompt_fills_77_tokens() -> None:
    tokenizer = build_tokenizer()
    ids = tokenizer("a red star", padding="max_length", truncation=True).input_ids
    assert len(ids) == 77
    assert ids[0] == tokenizer.bos_token_id
    assert ids[4:] == [tokenizer.eos_token_id] * 73
