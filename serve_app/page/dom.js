// The page's own address, its form, and what it says.

export const BASE = new URL(".", location.href);
export const $ = (id) => document.getElementById(id);
export const form = $("form");
export const input = (name) => form.elements[name];
export const task = () => input("task").value;

export const say = (text) => ($("status").textContent = text);

export function forgetError() {
  $("error").hidden = true;
  for (const name of ["aria-invalid", "aria-describedby"]) form.querySelector(`[${name}]`)?.removeAttribute(name);
}

/** Shows an error, and leads to the field that it names. */
export function showError(error) {
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
