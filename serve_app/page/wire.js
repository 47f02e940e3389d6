// Fields ↔ what goes over the wire.

/** JSON with whole numbers of any size: seeds go up to 2^63 - 1. */
export function toJson(fields) {
  const value = (field) => (typeof field === "bigint" ? String(field) : JSON.stringify(field));
  return `{\n${Object.entries(fields).map(([name, field]) => `  "${name}": ${value(field)}`).join(",\n")}\n}`;
}

export function toForm({ fields, files }) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, String(value));
  for (const [name, blob] of Object.entries(files)) body.append(name, blob, `${name}.png`);
  return body;
}

/** A number where `text` is one; other text stays as it is, for the API to say what is wrong with it. */
export function number(text) {
  if (/^-?\d+$/.test(text)) return BigInt(text);
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

export function toBlob(base64, format) {
  return new Blob([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], { type: `image/${format}` });
}
