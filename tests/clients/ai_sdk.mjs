// Vercel's AI SDK: it sends no response_format, and needs base64 back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateImage } from "ai";

const provider = createOpenAICompatible({ name: "images", baseURL: process.env.BASE_URL, apiKey: "unused" });
const picture = Buffer.from(process.env.PICTURE, "base64");
const mask = Buffer.from(process.env.MASK, "base64");

test("generateImage draws", async () => {
  const { images } = await generateImage({
    model: provider.imageModel("gpt-image-1"),
    prompt: "x",
    n: 2,
    size: "512x512",
    providerOptions: { images: { seed: 7, quality: "high" } },
  });
  assert.equal(images.length, 2);
  assert.equal(images[0].mediaType, "image/png");
});

test("generateImage edits, with and without a mask", async () => {
  for (const prompt of [
    { text: "x", images: [picture] },
    { text: "x", images: [picture], mask },
  ]) {
    const { image } = await generateImage({ model: provider.imageModel("gpt-image-1"), prompt });
    assert.equal(image.mediaType, "image/png");
  }
});

test("an error says why", async () => {
  const order = generateImage({ model: provider.imageModel("gpt-image-1"), prompt: "x", size: "7x7", maxRetries: 0 });
  await assert.rejects(order, /'size' must be one of/);
});
