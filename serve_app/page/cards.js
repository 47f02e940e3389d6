// A card a picture: its previews, its facts, its link and its buttons.

import { copy, showCode } from "./code.js";
import { $, form, input, say } from "./dom.js";
import { capabilities } from "./models.js";
import { setSource } from "./source.js";
import { toBlob } from "./wire.js";

export function newCard(fields) {
  const card = document.importNode($("card").content.firstElementChild, true);
  const [width, height] = (fields.size ?? "").split("x").map(Number);
  if (height) card.querySelector(".main").style.aspectRatio = `${width} / ${height}`;
  card.querySelector(".main img").alt = fields.prompt ?? "";
  return card;
}

export function showCards(cards) {
  $("cards").replaceChildren(...cards);
  $("cards").classList.toggle("several", cards.length > 1);
  $("empty").hidden = cards.length > 0;
  $("code").hidden = true;
  if (cards[0]?.picture) showCode(cards[0].picture.request);
}

/** Gives back the memory of pictures whose cards are not shown any more. */
export function release(cards) {
  for (const card of cards) {
    if (card.isConnected) continue;
    for (const image of card.querySelectorAll("img[src]")) URL.revokeObjectURL(image.src);
  }
}

function showBlob(image, blob) {
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
}

export function showPreview(card, { b64_json, output_format, partial_image_index }, { fields }) {
  showBlob(card.querySelector(".main img"), toBlob(b64_json, output_format));
  card.classList.add("preview");
  say(`Preview ${partial_image_index + 1} of ${fields.partial_images}`);
}

/** Makes a card of a finished picture. */
export async function showPicture(card, picture) {
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
  card.querySelector(".about").hidden = false;
  card.classList.remove("preview");
  showTimeLeft(card);
}

/** Says how long a card's link still works. */
export function showTimeLeft(card) {
  const expires = new Date(Number(new URL(card.picture.url).searchParams.get("expires")) * 1000);
  const left = expires - Date.now();
  const time = expires.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  card.querySelector(".open").hidden = left <= 0;
  const unit = left < 90_000 ? `${Math.ceil(left / 1000)} s` : `${Math.round(left / 60_000)} min`;
  card.querySelector(".left").textContent =
    left > 0 ? `Works until ${time} (${unit} left)` : `The link expired at ${time}. This browser still has the picture.`;
}

/** What the buttons of a card do. */
export const CARD_ACTIONS = {
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
