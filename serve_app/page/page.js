// The page of the image service. It speaks the same API as every other client, and nothing but it.
// In order: the API, the key, the models, the source picture and its mask, drawing, cards, code, the gallery, wiring.

const BASE = new URL(".", location.href);
const PREVIEWS = 2;
const SOURCE_MAX_PX = 1536;
const GALLERY_MAX = 60;
const COUNT_MAX = 10;
const FIELDS = ["model", "prompt", "negative_prompt", "size", "quality", "n", "seed", "steps", "guidance_scale", "scheduler"];
const TASK_FIELDS = { draw: [], edit: ["strength"], pose: ["controlnet_scale"] };
const TASKS = { draw: "generation", edit: "edit", pose: "pose" }; // as `capabilities` calls them
const TEXT_FIELDS = new Set(["model", "prompt", "negative_prompt", "size", "quality", "scheduler"]);

const $ = (id) => document.getElementById(id);
const form = $("form");
const input = (name) => form.elements[name];
const task = () => input("task").value;

// ---- The API ----

/** An error in the API's own words. */
class ApiError extends Error {
  constructor({ message, param = null }, status = 0) {
    super(message);
    this.param = param;
    this.status = status;
  }
}

/** Calls a route under v1/; asks for a key where one is needed, and tries again with it. */
async function call(path, init = {}) {
  for (;;) {
    const key = apiKey();
    const headers = { ...init.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    const response = await fetch(new URL(`v1/${path}`, BASE), { ...init, headers }).catch(unreachable);
    if (response.ok) return response;
    const error = await readError(response);
    if (error.status !== 401 || !(await askForKey(key ? error.message : ""))) throw error;
  }
}

function unreachable(error) {
  throw error.name === "AbortError" ? error : new ApiError({ message: "The server can't be reached." });
}

async function readError(response) {
  const body = await response.json().catch(() => null);
  return new ApiError(body?.error ?? { message: `The server answered ${response.status}.` }, response.status);
}

/** The events of a stream, and `{ step, steps }` for the comments that tell the progress. */
async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (buffer + value).split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const data = block.match(/^data: (.*)$/m);
      const progress = block.match(/^: step (\d+) of (\d+)$/m);
      if (data) yield JSON.parse(data[1]);
      if (progress) yield { step: Number(progress[1]), steps: Number(progress[2]) };
    }
  }
}

/** JSON with whole numbers of any size: seeds go up to 2^63 - 1. */
function toJson(fields) {
  const value = (field) => (typeof field === "bigint" ? String(field) : JSON.stringify(field));
  return `{\n${Object.entries(fields).map(([name, field]) => `  "${name}": ${value(field)}`).join(",\n")}\n}`;
}

function toForm({ fields, files }) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, String(value));
  for (const [name, blob] of Object.entries(files)) body.append(name, blob, `${name}.png`);
  return body;
}

/** A number where `text` is one; other text stays as it is, for the API to say what is wrong with it. */
function number(text) {
  if (/^-?\d+$/.test(text)) return BigInt(text);
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

// ---- The key ----

const apiKey = () => sessionStorage.getItem("api-key");

/** Asks for a key; `problem` says what is wrong with the one in use. Answers whether there is a new one to try. */
function askForKey(problem) {
  const dialog = $("key-dialog");
  $("key-button").hidden = false;
  $("key-error").hidden = !problem;
  $("key-error").textContent = problem;
  $("key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      const key = $("key").value.trim();
      const given = dialog.returnValue === "use" && key !== "";
      if (given) sessionStorage.setItem("api-key", key);
      $("key").value = "";
      resolve(given);
    };
  });
}

// ---- The models ----

let capabilities = {};

async function loadModels() {
  const models = (await (await call("models")).json()).data;
  setOptions(input("model"), models.map((model) => model.id));
  await loadModel();
}

/** Offers what the chosen model can do. */
async function loadModel() {
  const model = await (await call(`models/${encodeURIComponent(input("model").value)}`)).json();
  capabilities = model.capabilities;
  setOptions(input("size"), capabilities.sizes, capabilities.default_size);
  setOptions(input("quality"), Object.keys(capabilities.qualities), capabilities.default_quality);
  setOptions(input("scheduler"), ["", ...capabilities.schedulers]);
  for (const radio of input("task")) radio.disabled = !capabilities.tasks.includes(TASKS[radio.value]);
  if (form.querySelector("[name=task]:checked").disabled) form.querySelector("[name=task]:enabled").click();
  $("mask-tools").hidden = !capabilities.masks;
  showPreset();
}

/** Fills a select, keeping what is chosen where it is still on offer. */
function setOptions(select, values, preferred = values[0]) {
  const chosen = values.includes(select.value) && select.value !== "" ? select.value : preferred;
  select.replaceChildren(...values.map((value) => new Option(value, value, false, value === chosen)));
}

/** Shows the quality's own values where nothing else is asked for. */
function showPreset() {
  const preset = capabilities.qualities[input("quality").value];
  input("steps").placeholder = preset.steps;
  input("guidance_scale").placeholder = preset.guidance_scale;
  input("scheduler").options[0].textContent = preset.scheduler;
}

// ---- The source picture and its mask ----

let source = null;
let marked = false;
const mask = $("mask").getContext("2d");

/** Takes a picture as the one to start from: upright, at most SOURCE_MAX_PX long, and without metadata. */
async function setSource(blob, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    showError(new ApiError({ message: `${name} is not a picture that this browser can read.` }));
    return;
  }
  const scale = Math.min(1, SOURCE_MAX_PX / Math.max(bitmap.width, bitmap.height));
  for (const canvas of [$("picture"), $("mask")]) {
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  }
  $("picture").getContext("2d").drawImage(bitmap, 0, 0, $("picture").width, $("picture").height);
  source = await toPng($("picture"));
  clearMask();
  $("source-note").textContent = `${name}, ${bitmap.width} × ${bitmap.height}`;
  showSource();
}

function removeSource() {
  source = null;
  showSource();
  $("file").value = "";
  $("file").focus();
}

function showSource() {
  $("drop").hidden = source !== null;
  $("easel").hidden = source === null;
}

const toPng = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

function clearMask() {
  mask.clearRect(0, 0, mask.canvas.width, mask.canvas.height);
  setMarked(false);
}

function setMarked(value) {
  marked = value;
  mask.canvas.setAttribute("aria-label", `The mask: ${marked ? "a part of the picture is marked" : "nothing is marked"}`);
  mask.fillStyle = mask.strokeStyle = "#ff3d81";
}

function markRectangle() {
  const { width, height } = mask.canvas;
  const part = (side, whole) => (whole * $(`mask-${side}`).valueAsNumber) / 100;
  mask.fillRect(part("left", width), part("top", height), part("width", width), part("height", height));
  setMarked(true);
  say("The rectangle is marked.");
}

/** Paints from the last point of the pointer to this one. */
function paint(event, from = event) {
  const { width, left, top } = mask.canvas.getBoundingClientRect();
  const scale = mask.canvas.width / width;
  const point = (at) => [(at.clientX - left) * scale, (at.clientY - top) * scale];
  mask.lineCap = "round";
  mask.lineWidth = (mask.canvas.width * $("brush").valueAsNumber) / 100;
  mask.beginPath();
  mask.moveTo(...point(from));
  mask.lineTo(...point(event));
  mask.stroke();
  setMarked(true);
}

/** OpenAI's mask: the marked part is transparent, the rest opaque. */
function maskPng() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [mask.canvas.width, mask.canvas.height];
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(mask.canvas, 0, 0);
  return toPng(canvas);
}

// ---- Drawing ----

let running = null;

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

async function draw() {
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
    const finished = [...$("cards").children].filter((card) => card.picture);
    showCards(finished.length ? finished : before);
  } finally {
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
    seed: String(request.fields.seed + BigInt(event.image_index)),
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

const say = (text) => ($("status").textContent = text);

function forgetError() {
  $("error").hidden = true;
  for (const name of ["aria-invalid", "aria-describedby"]) form.querySelector(`[${name}]`)?.removeAttribute(name);
}

/** Shows an error, and leads to the field that it names. */
function showError(error) {
  say("");
  $("error").textContent = error.message;
  $("error").hidden = false;
  const field = error.param === "image" ? $("file") : error.param && input(error.param);
  if (!(field instanceof HTMLElement)) return;
  field.closest("details")?.setAttribute("open", "");
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", "error");
  field.focus();
}

function toBlob(base64, format) {
  return new Blob([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], { type: `image/${format}` });
}

// ---- Cards ----

function newCard(fields) {
  const card = document.importNode($("card").content.firstElementChild, true);
  const [width, height] = (fields.size ?? "").split("x").map(Number);
  if (height) card.querySelector(".main").style.aspectRatio = `${width} / ${height}`;
  card.querySelector(".main img").alt = fields.prompt ?? "";
  return card;
}

function showCards(cards) {
  $("cards").replaceChildren(...cards);
  $("cards").classList.toggle("several", cards.length > 1);
  $("empty").hidden = cards.length > 0;
  $("code").hidden = true;
  if (cards[0]?.picture) showCode(cards[0].picture.request);
}

function showBlob(image, blob) {
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
}

function showPreview(card, { b64_json, output_format, partial_image_index }, { fields }) {
  showBlob(card.querySelector(".main img"), toBlob(b64_json, output_format));
  card.classList.add("preview");
  say(`Preview ${partial_image_index + 1} of ${fields.partial_images}`);
}

/** Makes a card of a finished picture. */
async function showPicture(card, picture) {
  card.picture = picture;
  card.dataset.done = "true";
  const image = card.querySelector(".main img");
  showBlob(image, picture.blob);
  await image.decode();
  card.querySelector(".main").style.aspectRatio = "auto";
  if (picture.skeleton) {
    card.querySelector(".skeleton").hidden = false;
    showBlob(card.querySelector(".skeleton img"), picture.skeleton);
  }
  card.querySelector(".facts").textContent = `Seed ${picture.seed} · ${image.naturalWidth} × ${image.naturalHeight}`;
  card.querySelector(".link a").href = picture.url;
  const save = card.querySelector("[data-do=save]");
  save.href = image.src;
  save.download = `${picture.seed}.${picture.blob.type.slice("image/".length)}`;
  card.querySelector("[data-do=pose]").hidden = !capabilities.tasks?.includes("pose");
  card.querySelector(".about").hidden = false;
  card.classList.remove("preview");
  showTimeLeft(card);
}

/** Says how long a card's link still works. */
function showTimeLeft(card) {
  const expires = new Date(Number(new URL(card.picture.url).searchParams.get("expires")) * 1000);
  const left = expires - Date.now();
  const time = expires.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  card.querySelector(".open").hidden = left <= 0;
  const unit = left < 90_000 ? `${Math.ceil(left / 1000)} s` : `${Math.round(left / 60_000)} min`;
  card.querySelector(".left").textContent =
    left > 0 ? `Works until ${time} (${unit} left)` : `The link expired at ${time}. This browser still has the picture.`;
}

/** What the buttons of a card do. */
const CARD_ACTIONS = {
  edit: ({ picture }) => startFrom(picture, "edit"),
  pose: ({ picture }) => startFrom(picture, "pose"),
  seed: ({ picture }) => {
    input("seed").value = picture.seed;
    input("seed").focus();
  },
  copy: ({ picture }, button) => copy(picture.url, button),
};

async function startFrom(picture, name) {
  form.querySelector(`[name=task][value=${name}]`).click();
  await setSource(picture.blob, `Seed ${picture.seed}`);
  const size = picture.request.fields.size;
  if (capabilities.sizes.includes(size)) input("size").value = size;
  form.scrollIntoView({ block: "start" });
  input("prompt").focus({ preventScroll: true });
}

// ---- Code ----

/** Shows the request that drew a picture as code that sends the same. */
function showCode(request) {
  $("curl").textContent = asCurl(request);
  $("python").textContent = asPython(request);
  const links = Object.entries(request.files).map(([name, blob]) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${name}.png` });
    link.textContent = link.download;
    return link;
  });
  $("code-files").replaceChildren(...(links.length ? ["Files it sends: ", ...links.flatMap((link) => [link, " "])] : []));
  $("code").hidden = false;
}

function asCurl({ path, fields, files }) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = [
    `curl -N ${new URL(`v1/${path}`, BASE)}`,
    ...(apiKey() ? ['-H "Authorization: Bearer $OPENAI_API_KEY"'] : []),
    ...(path === "images/edits"
      ? [
          ...Object.entries(fields).map(([name, value]) => `--form-string ${quote(`${name}=${value}`)}`),
          ...Object.keys(files).map((name) => `-F ${name}=@${name}.png`),
        ]
      : ["-H 'Content-Type: application/json'", `-d ${quote(toJson(fields))}`]),
  ];
  return parts.join(" \\\n  ");
}

function asPython({ path, fields, files }) {
  const own = ["model", "prompt", "size", "quality", "n", "response_format", "stream", "partial_images", "user"];
  const literal = (value) => (value === true ? "True" : typeof value === "string" ? JSON.stringify(value) : String(value));
  const extra = Object.entries(fields).filter(([name]) => !own.includes(name));
  const lines = [
    ...Object.keys(files).map((name) => `${name}=open("${name}.png", "rb")`),
    ...own.filter((name) => name in fields).map((name) => `${name}=${literal(fields[name])}`),
    `extra_body={${extra.map(([name, value]) => `"${name}": ${literal(value)}`).join(", ")}}`,
  ];
  return `import base64
${apiKey() ? "import os\n" : ""}
from openai import OpenAI

client = OpenAI(base_url="${new URL("v1", BASE)}", api_key=${apiKey() ? 'os.environ["OPENAI_API_KEY"]' : '"unused"'})
events = client.images.${path === "images/edits" ? "edit" : "generate"}(
    ${lines.join(",\n    ")},
)
finished = (event for event in events if event.type.endswith(".completed"))
for number, event in enumerate(finished):
    with open(f"picture-{number}.{event.output_format}", "wb") as file:
        file.write(base64.b64decode(event.b64_json))
`;
}

async function copy(text, button) {
  await navigator.clipboard.writeText(text);
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), 1500);
}

// ---- The gallery ----

const database = new Promise((resolve, reject) => {
  const opening = indexedDB.open(`images of ${BASE.pathname}`, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("pictures", { autoIncrement: true });
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => reject(opening.error);
});

/** Does `work` on the gallery's store and answers its result. */
async function inGallery(mode, work) {
  const store = (await database).transaction("pictures", mode).objectStore("pictures");
  return new Promise((resolve, reject) => {
    const request = work(store);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Keeps a picture in this browser, and the last GALLERY_MAX of all. */
async function keep(picture) {
  await inGallery("readwrite", (store) => store.add(picture));
  const keys = await inGallery("readonly", (store) => store.getAllKeys());
  const oldest = keys.at(-GALLERY_MAX - 1);
  if (oldest) await inGallery("readwrite", (store) => store.delete(IDBKeyRange.upperBound(oldest)));
  await showGallery();
}

async function showGallery() {
  const pictures = await inGallery("readonly", (store) => store.getAll());
  $("gallery").hidden = pictures.length === 0;
  for (const image of $("thumbnails").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  $("thumbnails").replaceChildren(...pictures.reverse().map(thumbnail));
}

function thumbnail(picture) {
  const image = Object.assign(new Image(), { alt: picture.request.fields.prompt, src: URL.createObjectURL(picture.blob) });
  const button = Object.assign(document.createElement("button"), { type: "button", title: image.alt });
  button.append(image);
  button.onclick = () => reopen(picture);
  const item = document.createElement("li");
  item.append(button);
  return item;
}

/** Shows a picture of the gallery as it was when it was drawn. */
async function reopen(picture) {
  if (running) return;
  const card = newCard(picture.request.fields);
  forgetError();
  say(picture.request.fields.prompt);
  await showPicture(card, picture);
  showCards([card]);
  $("stage").focus();
}

// ---- Wiring ----

function onPress(id, action) {
  $(id).addEventListener("click", action);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  draw();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) draw();
});
form.addEventListener("change", (event) => {
  if (event.target.name === "model") loadModel().catch(showError);
  if (event.target.name === "quality") showPreset();
  if (event.target.name === "task") form.dataset.task = task();
});
input("strength").addEventListener("input", () => {
  delete input("strength").dataset.automatic;
  $("strength-value").textContent = `${Math.round(input("strength").value * 100)} %`;
});

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) setSource(file, file.name);
});
for (const [kind, files] of [["drop", "dataTransfer"], ["paste", "clipboardData"]]) {
  document.addEventListener(kind, (event) => {
    const file = [...event[files].files].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    if (task() === "draw") form.querySelector("[name=task][value=edit]").click();
    setSource(file, file.name);
  });
}
document.addEventListener("dragover", (event) => event.preventDefault());

let lastPoint = null;
mask.canvas.addEventListener("pointerdown", (event) => {
  mask.canvas.setPointerCapture(event.pointerId);
  lastPoint = event;
  paint(event);
});
mask.canvas.addEventListener("pointermove", (event) => {
  if (!lastPoint) return;
  paint(event, lastPoint);
  lastPoint = event;
});
for (const kind of ["pointerup", "pointercancel"]) mask.canvas.addEventListener(kind, () => (lastPoint = null));

$("cards").addEventListener("click", ({ target }) => {
  CARD_ACTIONS[target.dataset?.do]?.(target.closest(".card"), target);
});
document.addEventListener("click", ({ target }) => {
  if (target.dataset?.copy) copy($(target.dataset.copy).textContent, target);
  if ("close" in (target.dataset ?? {})) target.closest("dialog").close("");
});

onPress("cancel", () => {
  running.abort();
  $("draw").focus();
});
onPress("remove-source", removeSource);
onPress("clear-mask", clearMask);
onPress("mark-rectangle", markRectangle);
onPress("key-button", async () => (await askForKey("")) && loadModels().catch(showError));
onPress("forget-key", () => {
  sessionStorage.removeItem("api-key");
  $("key-dialog").close("");
});
onPress("clear-gallery", () => {
  const dialog = $("clear-dialog");
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "clear") return;
    await inGallery("readwrite", (store) => store.clear());
    await showGallery();
    $("stage").focus();
  };
  dialog.showModal();
});

setInterval(() => {
  for (const card of $("cards").querySelectorAll("[data-done]")) showTimeLeft(card);
}, 1000);

document.body.classList.toggle("no-clipboard", !navigator.clipboard);
form.dataset.task = task();
$("key-button").hidden = !apiKey();
showGallery().catch(console.warn);
loadModels().catch(showError);
