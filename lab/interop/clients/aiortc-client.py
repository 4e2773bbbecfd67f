"""A client by aiortc: aiortc-client.py URL SAY.wav HEARD.raw EVENTS.jsonl. See ../client.ts."""
import asyncio
import fractions
import json
import sys
import time
import urllib.request
import wave

import av
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

url, say, heard_path, events_path, update, last_event = sys.argv[1:7]
RATE, SAMPLES = 48000, 960
LONGEST_CALL_S = 35


class Mouth(MediaStreamTrack):
    """Silence every 20 ms, and the words once they are asked for."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        with wave.open(say) as file:
            self.pcm = file.readframes(file.getnframes())
        self.at = None
        self.frames = 0
        self.started = time.monotonic()

    def speak(self):
        self.at = 0

    async def recv(self):
        await asyncio.sleep(max(0, self.started + self.frames * 0.02 - time.monotonic()))
        data = b""
        if self.at is not None:
            data = self.pcm[self.at : self.at + SAMPLES * 2]
            self.at += len(data)
        frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(data.ljust(SAMPLES * 2, b"\0"))
        frame.sample_rate = RATE
        frame.time_base = fractions.Fraction(1, RATE)
        frame.pts = self.frames * SAMPLES
        self.frames += 1
        return frame


async def listen(track, path):
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with open(path, "wb") as out:
        try:
            while True:
                frame = await track.recv()
                for piece in resampler.resample(frame):
                    out.write(bytes(piece.planes[0])[: piece.samples * 2])
        except MediaStreamError:
            pass


def post(sdp):
    request = urllib.request.Request(url, sdp.encode(), {"content-type": "application/sdp"})
    with urllib.request.urlopen(request, timeout=15) as response:
        return response.read().decode()


async def main():
    started = time.monotonic()
    peer, mouth, over, opened = RTCPeerConnection(), Mouth(), asyncio.Event(), asyncio.Event()
    ears = []
    peer.addTrack(mouth)
    channel = peer.createDataChannel("oai-events")
    peer.on("track", lambda track: ears.append(asyncio.ensure_future(listen(track, heard_path))))
    channel.on("open", opened.set)
    events = open(events_path, "w")

    def on_message(text):
        event = json.loads(text)
        print(json.dumps({"at": round((time.monotonic() - started) * 1000), "event": event}), file=events, flush=True)
        if event["type"] == "session.updated":
            mouth.speak()
        if event["type"] == last_event:
            asyncio.get_running_loop().call_later(0.4, over.set)

    channel.on("message", on_message)
    await peer.setLocalDescription(await peer.createOffer())
    answer = await asyncio.to_thread(post, peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.wait_for(opened.wait(), 20)
    setup_ms = (time.monotonic() - started) * 1000
    channel.send(update)
    try:
        await asyncio.wait_for(over.wait(), LONGEST_CALL_S)
    except asyncio.TimeoutError:
        pass
    await peer.close()
    await asyncio.gather(*ears)
    print(json.dumps({"setup_ms": setup_ms}), flush=True)


asyncio.run(main())
