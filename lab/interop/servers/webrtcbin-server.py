"""An echo by GStreamer's webrtcbin: Opus is taken out of its packets and put into new ones; prints where it takes offers."""
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

Gst.init(None)
kept = []  # what nobody holds is collected


def reply_of(peer, signal, *args):
    promise = Gst.Promise.new()
    peer.emit(signal, *args, promise)
    promise.wait()
    return promise.get_reply()


def answer(offer):
    pipe = Gst.parse_launch(
        "webrtcbin name=peer bundle-policy=max-bundle latency=0 rtpopuspay name=mouth pt=111 "
        "! application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000 ! peer."
    )
    peer, mouth = pipe.get_by_name("peer"), pipe.get_by_name("mouth")
    ice = peer.get_property("ice-agent")
    agent = ice.get_property("agent")
    agent.set_property("upnp", False)  # it would ask all of the network
    ice.emit("add-local-ip-address", "127.0.0.1")
    kept.append((pipe, ice, agent))

    def on_pad(_peer, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        ear = Gst.parse_bin_from_description("rtpopusdepay ! opusparse", True)
        pipe.add(ear)
        ear.link(mouth)
        ear.sync_state_with_parent()
        pad.link(ear.get_static_pad("sink"))

    gathered = threading.Event()

    def on_gathering(*_):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            gathered.set()

    peer.connect("pad-added", on_pad)
    peer.connect("notify::ice-gathering-state", on_gathering)
    pipe.set_state(Gst.State.PLAYING)
    _, message = GstSdp.SDPMessage.new()
    GstSdp.sdp_message_parse_buffer(offer, message)
    described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, message)
    reply_of(peer, "set-remote-description", described)
    reply = reply_of(peer, "create-answer", None)
    reply_of(peer, "set-local-description", reply.get_value("answer"))
    if not gathered.wait(10):
        raise TimeoutError("no candidates")
    return peer.get_property("local-description").sdp.as_text()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = answer(self.rfile.read(int(self.headers["content-length"]))).encode()
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
GLib.MainLoop().run()
