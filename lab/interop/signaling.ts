/** Offers on their way to a server: posted, with a bad network put between both sides, or taken for somebody else. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Impairments } from "@sluice/netem";
import { NetemProxy, type NetemProxyOptions } from "../netem-proxy/proxy.ts";
import type { Answerer } from "./caller.ts";

const ANSWER_MS = 15_000;

/** Posts offers to `url` as `application/sdp`. */
export function postTo(url: string): Answerer {
  return async (offer) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/sdp" },
      body: offer,
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${response.status}: ${answer.slice(0, 300)}`);
    return answer;
  };
}

/** A network between callers and a server. */
export interface Between {
  readonly answer: Answerer;
  /** Packets that the network lost, both ways. */
  lost(): number;
  close(): void;
}

/** Puts a proxy of `impairments`, both ways, before every call that `answer` answers. */
export function throughNetwork(
  answer: Answerer,
  seed: number,
  impairments: Impairments,
  onTaken?: NetemProxyOptions["onTaken"],
): Between {
  const proxies: NetemProxy[] = [];
  // The server must not find a way around the network: it learns the caller's address from its checks, and what it
  // sends to the address that it is told ends here.
  const nowhere = createSocket("udp4").bind(0, "127.0.0.1");
  return {
    async answer(offer) {
      const answered = await answer(withOneCandidate(offer, nowhere.address().port));
      const target = candidateOf(answered);
      const proxy = await NetemProxy.open({
        listen: { address: "127.0.0.1", port: 0 },
        target,
        outer: target.address, // from where a server that is bound to an interface reaches it
        seed: seed + proxies.length,
        up: impairments,
        down: impairments,
        ...(onTaken && { onTaken }),
      });
      proxies.push(proxy);
      return withOneCandidate(answered, proxy.port);
    },
    lost: () => proxies.reduce((sum, { stats: { up, down } }) => sum + up.lost + down.lost, 0),
    close: () => {
      nowhere.close();
      for (const proxy of proxies) proxy.close();
    },
  };
}

/** The server's own IPv4 address for media. */
function candidateOf(sdp: string): { readonly address: string; readonly port: number } {
  const found = [...sdp.matchAll(/^a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host/gim)].map(
    ([, address, port]) => ({ address: address!, port: Number(port) }),
  );
  const candidate = found.find(({ address }) => address === "127.0.0.1") ?? found[0];
  if (!candidate) throw new Error("the answer has no IPv4 candidate");
  return candidate;
}

/** Instead of all candidates, one on loopback at `port`. */
function withOneCandidate(sdp: string, port: number): string {
  const end = /\r\n/.test(sdp) ? "\r\n" : "\n";
  let media = "";
  const lines = sdp.split(/\r?\n/).flatMap((line) => {
    if (line.startsWith("m=")) media = line;
    if (line.startsWith("a=candidate:") || line === "a=end-of-candidates") return [];
    if (/^m=\w+ [1-9]/.test(line)) return [line.replace(/^(m=\w+) \d+/, `$1 ${port}`)];
    if (line.startsWith("c=IN ")) return ["c=IN IP4 127.0.0.1"];
    if (line.startsWith("a=ice-ufrag:") && /^m=\w+ [1-9]/.test(media))
      return [`a=candidate:1 1 udp 2130706431 127.0.0.1 ${port} typ host`, "a=end-of-candidates", line];
    return [line];
  });
  return lines.join(end);
}

/** Takes offers over HTTP for clients that are programs of their own. */
export async function serveOffers(answer: Answerer): Promise<{ readonly url: string; close(): void }> {
  const server = createServer(async (request, response) => {
    try {
      response.writeHead(201, { "content-type": "application/sdp" }).end(await answer(await text(request)));
    } catch (error) {
      if (!response.headersSent) response.writeHead(502);
      response.end(String(error));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
