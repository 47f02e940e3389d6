// The API key: kept for this tab, asked for where the service wants one.

import { $ } from "./dom.js";

export const apiKey = () => sessionStorage.getItem("api-key");

/** Asks for a key; `problem` says what is wrong with the one in use. Answers whether there is a new one to try. */
export function askForKey(problem) {
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
