// The last pictures, kept in this browser.

import { newCard, release, showCards, showPicture } from "./cards.js";
import { $, BASE, forgetError, say } from "./dom.js";
import { running } from "./drawing.js";

const GALLERY_MAX = 60;

const database = new Promise((resolve, reject) => {
  const opening = indexedDB.open(`images of ${BASE.pathname}`, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("pictures", { autoIncrement: true });
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => reject(opening.error);
});

/** Does `work` on the gallery's store and answers its result. */
export async function inGallery(mode, work) {
  const store = (await database).transaction("pictures", mode).objectStore("pictures");
  return new Promise((resolve, reject) => {
    const request = work(store);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Keeps a picture in this browser, and the last GALLERY_MAX of all. */
export async function keep(picture) {
  await inGallery("readwrite", (store) => store.add(picture));
  const keys = await inGallery("readonly", (store) => store.getAllKeys());
  const oldest = keys.at(-GALLERY_MAX - 1);
  if (oldest) await inGallery("readwrite", (store) => store.delete(IDBKeyRange.upperBound(oldest)));
  await showGallery();
}

export async function showGallery() {
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
  const before = [...$("cards").children];
  const card = newCard(picture.request.fields);
  forgetError();
  say(picture.request.fields.prompt);
  await showPicture(card, picture);
  showCards([card]);
  release(before);
  $("stage").focus();
}
