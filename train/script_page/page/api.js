// Calls of the server. The cookie of the page authorises them.

async function json(response) {
  if (response.ok) return response.json();
  const error = new Error((await response.text()).slice(0, 600) || `the server answered ${response.status}`);
  error.status = response.status;
  throw error;
}

const send = (method, address, body) =>
  fetch(address, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }).then(json);

export const load = async () => json(await fetch("/api/script"));
export const save = (script, before_sha256) => send("PUT", "/api/script", { script, before_sha256 });
export const samples = async () => json(await fetch("/api/samples"));
export const start = () => send("POST", "/api/samples", {});
export const stop = () => send("POST", "/api/samples/stop", {});
