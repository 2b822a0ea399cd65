// Runs the README's `fetch` snippet against the quickstart server, whose address is the first argument.
const base = `http://${process.argv[2]}`;

// The README's snippet.

let requests = 0;
const realFetch = globalThis.fetch;
globalThis.fetch = (...args) => {
  requests += 1;
  return realFetch(...args);
};

const signIn = async () => {
  const body = new URLSearchParams({ user: "alice" });
  return (await realFetch(`${base}/login`, { method: "POST", body })).text();
};
const until = (seconds) => new Promise((wake) => setTimeout(wake, seconds * 1000 - Date.now()));
const show = async (when, held) => {
  token = held;
  requests = 0;
  const response = await call(`${base}/orders`, { headers: { Accept: "text/plain" } });
  const sent = requests === 1 ? "1 request" : `${requests} requests`;
  console.log(`${when}: ${response.status}, ${sent}, ${held === token ? "the same token" : "another token"}`);
};

const [first, second, third] = [await signIn(), await signIn(), await signIn()];
// The three were issued within a second of each other.
const { exp } = JSON.parse(Buffer.from(third.split(".")[1], "base64url"));
await show("fresh", first);
await until(exp - 3);
await show("in its window", first);
await until(exp + 1);
await show("in the grace", second);
await until(exp + 4.5);
await show("past the grace", third);
