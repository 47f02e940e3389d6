// A request: read from the form, sent, and followed until its pictures are there.

import { ApiError, call, readEvents } from "./api.js";
import { newCard, release, showCards, showPicture, showPreview } from "./cards.js";
import { showCode } from "./code.js";
import { $, forgetError, input, say, showError, task } from "./dom.js";
import { keep } from "./gallery.js";
import { capabilities, loadModels } from "./models.js";
import { marked, maskPng, source } from "./source.js";
import { number, toBlob, toForm, toJson } from "./wire.js";

const PREVIEWS = 2;
const COUNT_MAX = 10;
const FIELDS = ["model", "prompt", "negative_prompt", "size", "quality", "n", "seed", "steps", "guidance_scale", "scheduler"];
const TASK_FIELDS = { draw: [], edit: ["strength"], pose: ["controlnet_scale"] };
const TEXT_FIELDS = new Set(["model", "prompt", "negative_prompt", "size", "quality", "scheduler"]);

export let running = null;

/** What the form asks for. The seed is drawn here where none is given, so that the request draws the same again. */
async function readRequest() {
  const fields = {};
  for (const name of [...FIELDS, ...TASK_FIELDS[task()]]) {
    const text = input(name).value.trim();
    if (text && !input(name).dataset.automatic) fields[name] = TEXT_FIELDS.has(name) ? text : number(text);
  }
  fields.seed ??= BigInt(crypto.getRandomValues(new Uint32Array(1))[0]);
  Object.assign(fields, { response_format: "url", stream: true, partial_images: capabilities.previews ? PREVIEWS : 0 });
  if (task() === "draw") return { path: "images/generations", fields, files: {} };
  if (task() === "pose") fields.user = "cn";
  const files = source ? { image: source } : {};
  if (task() === "edit" && marked) files.mask = await maskPng();
  return { path: "images/edits", fields, files };
}

export async function draw() {
  if (running) return;
  running = new AbortController();
  const before = [...$("cards").children];
  const started = performance.now();
  forgetError();
  setBusy(true);
  say("Drawing …");
  try {
    if (!input("model").value) await loadModels();
    await follow(await readRequest());
    say(`Done in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
  } catch (error) {
    if (running.signal.aborted) say("Cancelled.");
    else showError(error);
    const drawn = [...$("cards").children];
    const finished = drawn.filter((card) => card.picture);
    showCards(finished.length ? finished : before);
    release(drawn);
  } finally {
    release(before);
    running = null;
    setBusy(false);
  }
}

/** Sends a request and shows its previews and pictures as they come. */
async function follow(request) {
  const body = request.path === "images/edits" ? toForm(request) : toJson(request.fields);
  const headers = typeof body === "string" ? { "Content-Type": "application/json" } : {};
  const count = Number(request.fields.n ?? 1);
  const cards = Array.from({ length: count >= 1 && count <= COUNT_MAX ? count : 1 }, () => newCard(request.fields));
  showCards(cards);
  $("stage").scrollIntoView({ block: matchMedia("(max-width: 52rem)").matches ? "start" : "nearest" });
  const response = await call(request.path, { method: "POST", body, headers, signal: running.signal });
  for await (const event of readEvents(response)) {
    if (event.error) throw new ApiError(event.error);
    if (event.steps) showProgress(event);
    else if (event.type.endsWith(".partial_image")) showPreview(cards[event.image_index], event, request);
    else await finish(cards[event.image_index], event, request);
  }
  if (!cards.every((card) => card.picture)) throw new ApiError({ message: "The server ended the answer too early." });
  showCode(request);
}

/** Shows a finished picture, and keeps it. */
async function finish(card, event, request) {
  const picture = {
    request,
    seed: String(BigInt(request.fields.seed) + BigInt(event.image_index)),
    blob: toBlob(event.b64_json, event.output_format),
    skeleton: event.b64_json_pose && toBlob(event.b64_json_pose, event.output_format),
    url: event.url,
  };
  await showPicture(card, picture);
  await keep(picture).catch(console.warn); // a browser without storage, or with a full one, still shows the picture
}

function showProgress({ step, steps }) {
  $("bar").max = steps;
  $("bar").value = step;
  $("steps").textContent = `Step ${step} of ${steps}`;
}

function setBusy(busy) {
  $("bar").removeAttribute("value");
  $("steps").textContent = "";
  $("bar").hidden = $("cancel").hidden = !busy;
  $("draw").setAttribute("aria-disabled", String(busy));
  $("cards").setAttribute("aria-busy", String(busy));
}
