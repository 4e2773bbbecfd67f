/** The console: one call at a time, made with the SDK as any other page would make it. */
import {
  type Conversation,
  connect,
  type MicrophoneChoice,
  prepare,
  type TransportChoice,
  type TransportKind,
} from "@sluice/client";
import { find, make } from "./dom.ts";
import { EventLog } from "./event-log.ts";
import { HistoryView } from "./history-view.ts";
import { Lab } from "./lab.ts";
import { drawLedger, drawPackets, drawVitals, type Ledger } from "./ledger-view.ts";
import { explain, type Problem } from "./problems.ts";
import { decibels, Scope } from "./scope.ts";
import { followTabs } from "./tabs.ts";
import { TranscriptView } from "./transcript-view.ts";
import { TurnEnd } from "./turn-end.ts";
import { drawTurn } from "./turn-view.ts";
import { type Turn, Turns } from "./turns.ts";

type Line = "idle" | "connecting" | "connected" | "reconnecting";
const lines: Readonly<Record<Line, { says: string; talk: string }>> = {
  idle: { says: "not connected", talk: "Talk" },
  connecting: { says: "connecting…", talk: "Cancel" },
  connected: { says: "connected, speak", talk: "End" },
  reconnecting: { says: "connection broken, reconnecting…", talk: "End" },
};

const pipeNames: Readonly<Record<TransportKind, string>> = {
  webtransport: "WebTransport",
  webrtc: "WebRTC",
  websocket: "WebSocket",
};

const talk = find<HTMLButtonElement>("talk");
const mute = find<HTMLButtonElement>("mute");
const interrupt = find<HTMLButtonElement>("interrupt");
const text = find<HTMLInputElement>("text");
const send = find("say").querySelector("button")!;
const notice = find("notice");
const pipe = find<HTMLSelectElement>("pipe");
const levelIn = find<HTMLMeterElement>("level-in");
const levelOut = find<HTMLMeterElement>("level-out");
const scope = new Scope(find<HTMLCanvasElement>("scope"));
const transcript = new TranscriptView(find("transcript"), find("announce"));
const log = new EventLog(find("log"));
const turns = new Turns();
const history = new HistoryView(find("history"), find("quantiles"), choose);

/** The caller's words are shown where the agent's engines can tell them. */
const TRANSCRIPTION = { transcription: { model: "default" } };

let call: Conversation | undefined;
let dialling: AbortController | undefined;
let chosen: Turn | undefined;
let token: string | undefined; // what the server asked for
let newestLedger: Ledger | undefined;
const lab = new Lab({ token: () => token, switchPipe });

talk.addEventListener("click", () => toggleCall());
mute.addEventListener("click", () => call?.mute(!call.muted));
interrupt.addEventListener("click", () => call?.interrupt());
find("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!call || text.value.trim() === "") return;
  call.sendText(text.value.trim());
  text.value = "";
});
const filter = find<HTMLFormElement>("filter");
filter.addEventListener("input", () => {
  const fields = new FormData(filter);
  log.filter(String(fields.get("pattern")), fields.has("chatter"));
});
filter.addEventListener("submit", (event) => event.preventDefault());
find("clear-events").addEventListener("click", () => log.clear());
document.addEventListener("keydown", onKey);
// `?transport=websocket&turn=semantic` chooses for a link or a test; a choice is remembered by the address.
const asked = new URLSearchParams(location.search);
const turnEnd = new TurnEnd(find<HTMLSelectElement>("turn-end"), asked.get("turn"), (settings) => {
  call?.send({ type: "session.update", session: { type: "realtime", ...settings } });
});
const wanted = asked.get("transport");
if (wanted && [...pipe.options].some(({ value }) => value === wanted)) pipe.value = wanted;
pipe.addEventListener("change", () => {
  switchPipe(pipe.value as TransportKind | "auto").catch((error: Error) => {
    find("pipe-why").textContent = `stays: ${error.message}`;
  });
});
followTabs(find("tabs"), find("board"), (view) => lab.show(view === "lab"));
drawAll();
showState("idle");
void prepare();
// Who points at the button is about to click it.
talk.addEventListener("pointerenter", () => {
  if (!call && !dialling) void prepare({ transport: pipe.value as TransportKind | "auto", token });
});

/** Takes the call to another kind of pipe in the middle of it, and else the next one. */
async function switchPipe(kind: TransportKind | "auto"): Promise<void> {
  const before = call?.transport?.kind;
  if (call) {
    pipe.value = kind;
    await call.switchTransport(kind).catch((error: unknown) => {
      if (before) pipe.value = before;
      throw error;
    });
  }
  pipe.value = kind;
  const address = new URL(location.href);
  if (kind === "auto") address.searchParams.delete("transport");
  else address.searchParams.set("transport", kind);
  window.history.replaceState(null, "", address);
}

function toggleCall(): void {
  if (call) call.close();
  else if (dialling) dialling.abort();
  else void start(true);
}

async function start(microphone: MicrophoneChoice): Promise<void> {
  dialling = new AbortController();
  const { signal } = dialling;
  hideNotice();
  transcript.clear();
  log.start(performance.now());
  newestLedger = undefined;
  showState("connecting");
  const session = { audio: { input: { ...TRANSCRIPTION, ...turnEnd.settings().audio?.input } } };
  try {
    follow(
      await connect({ microphone, signal, session, transport: pipe.value as TransportKind | "auto", token }),
      microphone !== false,
    );
  } catch (error) {
    if (!signal.aborted) showProblem(explain(error));
    showState("idle");
  } finally {
    dialling = undefined;
  }
}

function follow(conversation: Conversation, speaks: boolean): void {
  call = conversation;
  lab.follow(conversation);
  conversation.on("event", (event) => {
    log.add(performance.now(), false, event);
    window.dispatchEvent(new CustomEvent("sluice:event", { detail: event })); // for who looks on: extensions, tests
  });
  conversation.on("sent", (event) => log.add(performance.now(), true, event));
  conversation.on("session.updated", ({ session }) => turnEnd.show(session));
  conversation.on("transcript", (entry) => transcript.show(entry));
  for (const entry of conversation.transcript) transcript.show(entry);
  conversation.on("input_audio_buffer.speech_started", () => scope.mark(performance.now(), "caller"));
  conversation.on("input_audio_buffer.speech_stopped", () => scope.mark(performance.now(), "caller"));
  conversation.on("output_audio_buffer.started", () => scope.mark(performance.now(), "agent"));
  conversation.on("sluice.turn", (turn) => {
    turns.add(turn);
    choose(turn);
  });
  conversation.on("sluice.ledger", (ledger) => {
    newestLedger = ledger;
    drawLedger(find("ledger"), ledger);
  });
  conversation.on("response.done", ({ response: { status, status_details: details } }) => {
    const failure = details?.type === "failed" ? details.error?.message : undefined;
    if (failure !== undefined) {
      showNotice("The agent could not answer", failure, []);
      notice.dataset.of = "answer";
    } else if (status === "completed" && notice.dataset.of === "answer") hideNotice();
  });
  conversation.on("mute", showMute);
  conversation.on("state", ({ state, reason }) => {
    if (state === "closed") {
      call = undefined;
      lab.end();
    }
    showState(state === "closed" ? "idle" : state);
    // A broken connection mends itself, as the line above says; only an end is for the person to mend.
    if (reason && state === "closed") showProblem(explain(reason));
  });
  conversation.on("microphoneLost", () => {
    showNotice("The microphone went away", "It was unplugged, or its permission was taken back.", [
      ["Use the microphone", () => useMicrophone(conversation)],
    ]);
  });
  conversation.on("playoutBlocked", () => {
    showNotice("The browser holds the sound back", "It plays nothing on its own here.", [
      ["Play the agent", () => void conversation.resumePlayout().then(hideNotice)],
    ]);
  });
  conversation.on("transport", showPipe);
  if (conversation.transport) showPipe(conversation.transport);
  showState(conversation.state === "closed" ? "idle" : conversation.state);
  mute.disabled = !speaks;
  // Where the focus is, space must mute as the page says, and not end the call that it has just begun.
  if (document.activeElement === talk && speaks) mute.focus();
  requestAnimationFrame(() => animate(conversation));
  void watchStats(conversation);
}

function useMicrophone(conversation: Conversation): void {
  conversation.useMicrophone(true).then(hideNotice, (error: unknown) => showProblem(explain(error)));
}

function animate(conversation: Conversation): void {
  const caller = conversation.inputLevel();
  const agent = conversation.outputLevel();
  scope.sample(performance.now(), caller, agent);
  levelIn.value = decibels(caller);
  levelOut.value = decibels(agent);
  if (conversation === call) requestAnimationFrame(() => animate(conversation));
}

async function watchStats(conversation: Conversation): Promise<void> {
  while (conversation === call) {
    const stats = await conversation.getStats();
    drawVitals(find("vitals"), stats);
    drawPackets(find("packets"), chosen, stats);
    lab.handleStats(stats);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  drawVitals(find("vitals"), undefined);
}

function choose(turn: Turn): void {
  chosen = turn;
  drawTurn(find("headline"), find("waterfall"), turn);
  history.draw(turns, turn);
  void call?.getStats().then((stats) => drawPackets(find("packets"), chosen, stats));
}

function drawAll(): void {
  drawTurn(find("headline"), find("waterfall"), chosen);
  history.draw(turns, chosen);
  drawLedger(find("ledger"), newestLedger);
  drawPackets(find("packets"), chosen, undefined);
  drawVitals(find("vitals"), undefined);
}

function showState(line: Line): void {
  find("line").dataset.state = line;
  find("state").textContent = lines[line].says;
  talk.firstChild!.textContent = lines[line].talk;
  talk.classList.toggle("live", line !== "idle");
  const on = line === "connected" || line === "reconnecting";
  const focused = document.activeElement;
  for (const control of [mute, interrupt, text, send]) control.disabled = !on;
  // A control that is switched off loses the focus, and the keyboard its place.
  if (!on && focused !== document.body && (focused as HTMLButtonElement | null)?.disabled) talk.focus();
  pipe.disabled = line === "connecting" || line === "reconnecting";
  if (line === "idle") find("pipe-now").textContent = find("pipe-why").textContent = "";
  if (!on) showMute(false);
}

function showPipe({ kind, reason }: TransportChoice): void {
  find("pipe-now").textContent = pipeNames[kind];
  find("pipe-why").textContent = reason.startsWith(`${kind} `) ? reason.slice(kind.length + 1) : reason;
}

function showMute(on: boolean): void {
  mute.setAttribute("aria-pressed", String(on));
  mute.firstChild!.textContent = on ? "Unmute " : "Mute ";
  if (call?.state === "connected") find("state").textContent = on ? "connected, muted" : lines.connected.says;
}

function showProblem({ title, advice, offerWriting, asksKey }: Problem): void {
  const actions: [string, () => void][] = [["Try again", () => void start(true)]];
  if (offerWriting) actions.push(["Go on in writing", () => void start(false)]);
  showNotice(title, advice, actions);
  if (asksKey) askKey();
}

function askKey(): void {
  const input = make("input", { type: "password", name: "key", autocomplete: "off", "aria-label": "Key" });
  const form = make("form", {}, input, make("button", { type: "submit" }, "Use this key"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    token = input.value.trim() || undefined;
    void start(true);
  });
  notice.querySelector("div")?.replaceWith(form);
  input.focus();
}

function showNotice(title: string, advice: string, actions: readonly [string, () => void][]): void {
  const buttons = actions.map(([label, act]) => {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", act);
    return button;
  });
  notice.replaceChildren(make("b", {}, title), make("p", {}, advice), make("div", {}, ...buttons));
  notice.hidden = false;
  delete notice.dataset.of;
}

function hideNotice(): void {
  notice.hidden = true;
  notice.replaceChildren();
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "Escape") {
    if (call) call.interrupt();
    (document.activeElement as HTMLElement | null)?.blur();
    return;
  }
  // Keys belong to the control that has the focus: letters where one writes or chooses, the space bar to every one.
  const target = event.target as HTMLElement;
  if (target.closest("textarea, select, input:not([type=checkbox], [type=radio])")) return;
  if (event.key === " ") {
    if (!call || target.closest("input, button, summary, a")) return;
    call.mute(!call.muted);
  } else if (event.key === "t" || event.key === "T") toggleCall();
  else if (event.key === "/") text.focus();
  else return;
  event.preventDefault();
}
