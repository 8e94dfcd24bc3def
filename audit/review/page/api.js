// Calls of the server. The session cookie of the page authorises them.

async function json(response) {
  if (response.ok) return response.json();
  throw new Error((await response.text()).slice(0, 400) || `the server answered ${response.status}`);
}

export const about = async () => json(await fetch("/api/about"));

/** One batch of queue entries; `filters` maps filter names to values. */
export const queue = async (filters, start = 0) =>
  json(await fetch(`/api/queue?${new URLSearchParams({ ...filters, start })}`));

async function post(address, body) {
  return fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Lock a clip and end the lock of the one left; tells who else has it. */
export const claim = async (key, leave) => json(await post(`/api/clips/${encodeURIComponent(key)}/claim`, { leave }));

/** Agreement with the other reviewers. */
export const agreement = async () => json(await fetch("/api/agreement"));

export const clip = async (key) => json(await fetch(`/api/clips/${encodeURIComponent(key)}`));

/**
 * Send one operation on the draft whose hash it contains.
 * @returns {Promise<{stale: boolean, draft: Object}>} stale: the draft had changed, so the operation was not applied
 */
export async function operate(key, intent) {
  const response = await post(`/api/clips/${encodeURIComponent(key)}/operations`, intent);
  const stale = response.status === 409;
  return { stale, draft: stale ? await response.json() : await json(response) };
}
