// The picture to start from, and its mask.

import { ApiError } from "./api.js";
import { $, say, showError } from "./dom.js";

const SOURCE_MAX_PX = 1536;

export let source = null;
export let marked = false;
export const mask = $("mask").getContext("2d");

/** Takes a picture as the one to start from: upright, at most SOURCE_MAX_PX long, and without metadata. */
export async function setSource(blob, name) {
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

export function removeSource() {
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

export function clearMask() {
  mask.clearRect(0, 0, mask.canvas.width, mask.canvas.height);
  setMarked(false);
}

function setMarked(value) {
  marked = value;
  mask.canvas.setAttribute("aria-label", `The mask: ${marked ? "a part of the picture is marked" : "nothing is marked"}`);
  mask.fillStyle = mask.strokeStyle = "#ff3d81";
}

export function markRectangle() {
  const { width, height } = mask.canvas;
  const part = (side, whole) => (whole * $(`mask-${side}`).valueAsNumber) / 100;
  const rectangle = [part("left", width), part("top", height), part("width", width), part("height", height)];
  if (rectangle.some(Number.isNaN)) {
    showError(new ApiError({ message: "A rectangle needs four numbers, in percent." }));
    return;
  }
  mask.fillRect(...rectangle);
  setMarked(true);
  say("The rectangle is marked.");
}

/** Paints from the last point of the pointer to this one. */
export function paint(event, from = event) {
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
export function maskPng() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [mask.canvas.width, mask.canvas.height];
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(mask.canvas, 0, 0);
  return toPng(canvas);
}
