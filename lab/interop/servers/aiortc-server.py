"""An echo by aiortc, as in its own examples: the track that comes is the track that goes; prints where it takes offers."""
import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiortc import RTCPeerConnection, RTCSessionDescription

peers = set()
loop = asyncio.new_event_loop()


async def answer(offer):
    peer = RTCPeerConnection()
    peers.add(peer)
    peer.on("track", peer.addTrack)

    @peer.on("connectionstatechange")
    async def on_state():
        if peer.connectionState in ("failed", "closed"):
            peers.discard(peer)
            await peer.close()

    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return peer.localDescription.sdp


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        offer = self.rfile.read(int(self.headers["content-length"])).decode()
        body = asyncio.run_coroutine_threadsafe(answer(offer), loop).result(15).encode()
        self.send_response(201)
        self.send_header("content-type", "application/sdp")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}/", flush=True)
loop.run_forever()
