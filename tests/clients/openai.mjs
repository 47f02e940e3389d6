// OpenAI's client for Node.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "unused" });
const picture = () => toFile(Buffer.from(process.env.PICTURE, "base64"), "picture.png", { type: "image/png" });
const mask = () => toFile(Buffer.from(process.env.MASK, "base64"), "mask.png", { type: "image/png" });
const isPng = (base64) => Buffer.from(base64, "base64").subarray(1, 4).toString() === "PNG";

test("generate answers a URL that opens", async () => {
  const answer = await client.images.generate({ model: "dall-e-2", prompt: "x", n: 2, size: "256x256" });
  assert.equal(answer.data.length, 2);
  const fetched = await fetch(answer.data[1].url);
  assert.equal(fetched.headers.get("content-type"), "image/png");
});

test("fields of this server go through", async () => {
  const answer = await client.images.generate({ model: "dall-e-2", prompt: "x", seed: 7, steps: 2 });
  assert.equal(answer.data[0].seed, 7);
});

test("gpt-image names answer base64 and a usage", async () => {
  const answer = await client.images.generate({ model: "gpt-image-1", prompt: "x", quality: "high", size: "auto" });
  assert.ok(isPng(answer.data[0].b64_json));
  assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
});

test("edit takes one image, a list of one, and a mask", async () => {
  for (const image of [await picture(), [await picture()]]) {
    const answer = await client.images.edit({ model: "gpt-image-1", image, mask: await mask(), prompt: "x" });
    assert.ok(isPng(answer.data[0].b64_json));
  }
});

test("a pose has its skeleton", async () => {
  const answer = await client.images.edit({ model: "dall-e-2", image: await picture(), prompt: "x", user: "cn" });
  assert.ok(answer.data[0].url_pose);
});

test("variations", async () => {
  const answer = await client.images.createVariation({ model: "dall-e-2", image: await picture(), n: 2 });
  assert.equal(answer.data.length, 2);
});

test("a stream has previews and the picture", async () => {
  const stream = await client.images.generate({ model: "gpt-image-1", prompt: "x", stream: true, partial_images: 2 });
  const types = [];
  for await (const event of stream) {
    assert.ok(isPng(event.b64_json));
    types.push(event.type);
  }
  assert.deepEqual(types, [
    "image_generation.partial_image",
    "image_generation.partial_image",
    "image_generation.completed",
  ]);
});

test("a stream that was broken off leaves the client usable", async () => {
  const stream = await client.images.generate({ prompt: "sleep-late=5", stream: true, partial_images: 1 });
  for await (const event of stream) {
    assert.equal(event.type, "image_generation.partial_image");
    break;
  }
  assert.ok((await client.models.list()).data.length);
});

test("errors have their code and their parameter", async () => {
  await assert.rejects(client.images.generate({ prompt: "x", size: "7x7" }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "size");
    assert.ok(error.requestID);
    return true;
  });
  await assert.rejects(client.images.generate({ model: "none", prompt: "x" }), { status: 404, code: "model_not_found" });
});

test("the same idempotency key gives the same picture", async () => {
  const options = { headers: { "Idempotency-Key": `node-${Date.now()}` } };
  const first = await client.images.generate({ model: "dall-e-2", prompt: "x" }, options);
  assert.deepEqual(await client.images.generate({ model: "dall-e-2", prompt: "x" }, options), first);
});
