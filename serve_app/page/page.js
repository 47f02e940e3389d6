// The page of the image service: what its buttons, fields and keys do. It speaks the API that every client speaks.

import { ApiError } from "./api.js";
import { CARD_ACTIONS, showTimeLeft } from "./cards.js";
import { copy } from "./code.js";
import { $, form, input, showError, task } from "./dom.js";
import { draw, running } from "./drawing.js";
import { inGallery, showGallery } from "./gallery.js";
import { apiKey, askForKey } from "./key.js";
import { loadModel, loadModels, showPreset } from "./models.js";
import { clearMask, markRectangle, mask, paint, removeSource, setSource } from "./source.js";

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
document.addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (file) takePicture(event, file);
});
document.addEventListener("paste", (event) => {
  const { files, types } = event.clipboardData;
  const file = [...files].find(({ type }) => type.startsWith("image/"));
  // A spreadsheet's cells are text, and a picture of themselves.
  const isText = types.includes("text/plain") && event.target.matches("input, textarea");
  if (file && !isText) takePicture(event, file);
});
function takePicture(event, file) {
  event.preventDefault();
  const takers = [...input("task")].filter((radio) => radio.value !== "draw" && !radio.disabled);
  if (!takers.length) return showError(new ApiError({ message: `The model ${input("model").value} takes no pictures.` }));
  if (task() === "draw") takers[0].click();
  setSource(file, file.name);
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
form.querySelector(".rectangle").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
  event.preventDefault(); // it would send the form
  markRectangle();
});
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
