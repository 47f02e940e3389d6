"""The routes through the OpenAI SDK, with fake engines."""

from __future__ import annotations

import httpx
import openai


def test_generation_answers_a_url_that_opens(fake: openai.OpenAI) -> None:
    answer = fake.images.generate(model="be-fake", prompt="A cute baby sea otter", n=1, size="1024x1024")
    assert answer.data is not None
    url = answer.data[0].url
    assert url is not None
    picture = httpx.get(url)
    assert picture.headers["content-type"] == "image/png"
