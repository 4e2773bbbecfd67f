"""A client by GStreamer's webrtcbin: webrtcbin-client.py URL SAY.wav HEARD.raw EVENTS.jsonl. See ../client.ts."""
import json
import sys
import time
import urllib.request
import wave

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

url, say, heard_path, events_path, update, last_event = sys.argv[1:7]
BYTES = 960 * 2
LONGEST_CALL_S = 35
CONNECT_S = 20

Gst.init(None)
started = time.monotonic()
loop = GLib.MainLoop()
with wave.open(say) as file:
    words = file.readframes(file.getnframes())
state = {"at": None, "frames": 0, "setup_ms": None, "failed": None, "posted": False}
events = open(events_path, "w")
pipe = Gst.parse_launch(
    "webrtcbin name=peer bundle-policy=max-bundle latency=60 "
    "appsrc name=mouth is-live=true format=time do-timestamp=true "
    "caps=audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved "
    "! opusenc inband-fec=true packet-loss-percentage=10 ! rtpopuspay pt=111 "
    "! application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000 ! peer."
)
peer, mouth = pipe.get_by_name("peer"), pipe.get_by_name("mouth")
ice = peer.get_property("ice-agent")  # kept: its floating reference would be the last
agent = ice.get_property("agent")
agent.set_property("upnp", False)  # it would ask all of the network
ice.emit("add-local-ip-address", "127.0.0.1")  # bound to another interface, libnice does not reach this one


def fail(why):
    state["failed"] = str(why)
    loop.quit()


def say_frame():
    data = b""
    if state["at"] is not None:
        data = words[state["at"] : state["at"] + BYTES]
        state["at"] += len(data)
    mouth.emit("push-buffer", Gst.Buffer.new_wrapped(data.ljust(BYTES, b"\0")))
    state["frames"] += 1
    due = started + state["frames"] * 0.02 - time.monotonic()
    GLib.timeout_add(max(0, round(due * 1000)), say_frame)
    return False


def on_message(_channel, text):
    GLib.idle_add(handle, text)


def handle(text):
    event = json.loads(text)
    print(json.dumps({"at": round((time.monotonic() - started) * 1000), "event": event}), file=events, flush=True)
    if event["type"] == "session.updated":
        state["at"] = 0
    if event["type"] == last_event:
        GLib.timeout_add(400, loop.quit)


def on_open(channel):
    state["setup_ms"] = (time.monotonic() - started) * 1000
    channel.emit("send-string", update)


def on_pad(_peer, pad):
    if pad.direction != Gst.PadDirection.SRC:
        return
    ear = Gst.parse_bin_from_description(
        "rtpopusdepay ! opusdec plc=true use-inband-fec=true ! audioconvert ! audioresample "
        f"! audio/x-raw,format=S16LE,rate=48000,channels=1 ! filesink sync=false location={heard_path}",
        True,
    )
    pipe.add(ear)
    ear.sync_state_with_parent()
    pad.link(ear.get_static_pad("sink"))


def on_offer(promise, _):
    reply = promise.get_reply()
    offer = reply.get_value("offer")
    if offer is None:
        return fail(reply.to_string())
    peer.emit("set-local-description", offer, Gst.Promise.new())


def on_gathering(*_):
    if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        GLib.idle_add(post)


def post():
    if state["posted"]:
        return
    state["posted"] = True
    try:
        offer = peer.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(url, offer.encode(), {"content-type": "application/sdp"})
        with urllib.request.urlopen(request, timeout=15) as response:
            answer = response.read()
    except urllib.error.HTTPError as error:
        return fail(f"{error.code}: {error.read().decode()}")
    _, message = GstSdp.SDPMessage.new()
    GstSdp.sdp_message_parse_buffer(answer, message)
    described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
    peer.emit("set-remote-description", described, Gst.Promise.new())


peer.connect("pad-added", on_pad)
peer.connect("notify::ice-gathering-state", on_gathering)
pipe.set_state(Gst.State.READY)
channel = peer.emit("create-data-channel", "oai-events", None)
channel.connect("on-open", on_open)
channel.connect("on-message-string", on_message)
pipe.set_state(Gst.State.PLAYING)
say_frame()
GLib.timeout_add(100, lambda: peer.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer, None)) and False)
GLib.timeout_add_seconds(CONNECT_S, lambda: state["setup_ms"] is None and fail("the data channel did not open") or False)
GLib.timeout_add_seconds(LONGEST_CALL_S, loop.quit)
loop.run()
pipe.set_state(Gst.State.NULL)
if state["failed"]:
    sys.exit(f"webrtcbin: {state['failed']}")
print(json.dumps({"setup_ms": state["setup_ms"]}), flush=True)
