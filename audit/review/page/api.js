// The server, as functions. The cookie that came with the page says who asks.

async function json(response) {
  if (response.ok) return response.json();
  throw new Error((await response.text()).slice(0, 400) || `the server answered ${response.status}`);
}

export const about = async () => json(await fetch("/api/about"));

/** A stretch of the queue; `filters` maps filter names to words. */
export const queue = async (filters, start = 0) =>
  json(await fetch(`/api/queue?${new URLSearchParams({ ...filters, start })}`));

export const clip = async (key) => json(await fetch(`/api/clips/${encodeURIComponent(key)}`));

/**
 * One operation on the draft whose hash it names.
 * @returns {Promise<{stale: boolean, draft: Object}>} stale: it was made on another draft and changed nothing
 */
export async function operate(key, intent) {
  const response = await fetch(`/api/clips/${encodeURIComponent(key)}/operations`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(intent),
  });
  const stale = response.status === 409;
  return { stale, draft: stale ? await response.json() : await json(response) };
}
