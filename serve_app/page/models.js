// The models, and what the chosen one can do.

import { call } from "./api.js";
import { $, form, input } from "./dom.js";

const TASKS = { draw: "generation", edit: "edit", pose: "pose" }; // as `capabilities` calls them

export let capabilities = {};

export async function loadModels() {
  const models = (await (await call("models")).json()).data;
  setOptions(input("model"), models.map((model) => model.id));
  await loadModel();
}

/** Offers what the chosen model can do. */
export async function loadModel() {
  const model = await (await call(`models/${encodeURIComponent(input("model").value)}`)).json();
  capabilities = model.capabilities;
  setOptions(input("size"), capabilities.sizes, capabilities.default_size);
  setOptions(input("quality"), Object.keys(capabilities.qualities), capabilities.default_quality);
  setOptions(input("scheduler"), ["", ...capabilities.schedulers]);
  document.body.dataset.tasks = capabilities.tasks.join(" ");
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
export function showPreset() {
  const preset = capabilities.qualities[input("quality").value];
  input("steps").placeholder = preset.steps;
  input("guidance_scale").placeholder = preset.guidance_scale;
  input("scheduler").options[0].textContent = preset.scheduler;
}
