// The request that drew a picture, as code that sends the same.

import { $, BASE } from "./dom.js";
import { apiKey } from "./key.js";
import { toJson } from "./wire.js";

/** Shows the request that drew a picture as code that sends the same. */
export function showCode(request) {
  $("curl").textContent = asCurl(request);
  $("python").textContent = asPython(request);
  for (const link of $("code-files").querySelectorAll("a")) URL.revokeObjectURL(link.href);
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

export async function copy(text, button) {
  await navigator.clipboard.writeText(text);
  button.dataset.label ??= button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = button.dataset.label), 1500);
}
