// Asks the daemon. Every failure becomes an ApiError whose message can be shown as it is.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let onLocked = () => {};

/** Call `listener` whenever the daemon wants the admin token. */
export function whenLocked(listener) {
  onLocked = listener;
}

export async function get(path) {
  return ask(path, {});
}

export async function send(method, path, body = {}) {
  return ask(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new ApiError("The daemon cannot be reached. It may be restarting.", 0);
  }
  const text = await answer.text();
  let value = {};
  try {
    value = text ? JSON.parse(text) : {};
  } catch {
    value = { error: text.trim() };
  }
  if (answer.status === 401 && path !== "/api/login") onLocked();
  if (!answer.ok) throw new ApiError(value.error || `The daemon answered ${answer.status}.`, answer.status);
  return value;
}
