/**
 * Ephemeral secrets: the page's own server keeps the key, and gives each visitor a secret that opens one session within a
 * minute. The page fetches `/secret` and calls `connect({ url, token: value })`.
 *
 *     SLUICE_API_KEY=… node --conditions=sluice-source examples/node/secret-server.ts http://localhost:8080 3000
 */
import { createServer } from "node:http";

const [sluice = "http://localhost:8080", port = "3000"] = process.argv.slice(2);
const key = process.env.SLUICE_API_KEY;
if (!key) throw new Error("SLUICE_API_KEY is not set");

const server = createServer(async (request, response) => {
  // This is where a real server asks who the visitor is: a secret costs what a session costs.
  if (request.method !== "POST" || request.url !== "/secret") {
    response.writeHead(404).end();
    return;
  }
  const minted = await fetch(new URL("/v1/realtime/client_secrets", sluice), {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      expires_after: { anchor: "created_at", seconds: 60 },
      session: { type: "realtime", instructions: "Be brief." },
      sluice: { single_use: true },
    }),
  });
  if (!minted.ok) {
    response.writeHead(502).end();
    return;
  }
  const { value, expires_at } = (await minted.json()) as { value: string; expires_at: number };
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify({ value, expires_at }));
});
server.listen(Number(port), "127.0.0.1", () => {
  const address = server.address() as { port: number };
  console.log(`secrets at http://localhost:${address.port}/secret`);
});
