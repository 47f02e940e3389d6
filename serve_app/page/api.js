// The service's API: calls with a key where one is needed, errors in its own words, and streams.

import { BASE } from "./dom.js";
import { apiKey, askForKey } from "./key.js";

/** An error in the API's own words. */
export class ApiError extends Error {
  constructor({ message, param = null }, status = 0) {
    super(message);
    this.param = param;
    this.status = status;
  }
}

/** Calls a route under v1/; asks for a key where one is needed, and tries again with it. */
export async function call(path, init = {}) {
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
export async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read().catch(unreachable);
    if (done) return;
    const lines = (buffer + value).split("\n");
    buffer = lines.pop();
    for (const line of lines) {
      const data = line.match(/^data: (.*)$/);
      const progress = line.match(/^: step (\d+) of (\d+)$/);
      if (data) yield JSON.parse(data[1]);
      if (progress) yield { step: Number(progress[1]), steps: Number(progress[2]) };
    }
  }
}
