// The one way to the daemon: fetch in a browser, messages to the host in a webview. README.md beside src says what the messages are.

/** paths are all that the page asks for. A webview's host refuses others. */
export const paths = [
  "status", "iterations", "verdict", "evidence", "events", "capture", "list_api_calls", "get_api_call_details", "get_api_stats", "get_service_map", "get_call_tree",
  "compare_traffic", "baseline_list", "baseline_compare", "list_databases", "list_snapshots", "create_snapshot", "delete_snapshot", "start_snapshot_dissection",
  "get_dissection_status",
] as const;

export type Name = (typeof paths)[number];

/** Failure is why there is no answer, and what to do about it. */
export class Failure extends Error {
  constructor(message: string, readonly hint = "", readonly status = 0) {
    super(message);
  }
}

export interface Transport {
  /** ask sends one request and returns the daemon's answer; it throws a Failure. */
  ask<T>(name: Name, request: object, signal?: AbortSignal): Promise<T>;
  /** subscribe passes each line of a long answer on, from now until the returned function is called; lost connections are made again. */
  subscribe(name: Name, onLine: (line: unknown) => void, onState: (connected: boolean) => void): () => void;
  /** open shows a file of the workspace, where an editor is around. */
  open?: (file: string, line: number) => void;
  /** save gives a file to the user. */
  save(name: string, base64: string): void;
  /** remember keeps the place over a reload; recall has it. */
  remember(place: string): void;
  recall(): string;
  /** onNavigate is called when somebody else chooses a place. */
  onNavigate(go: (place: string) => void): void;
}

/** result is the last line of an answer in JSON lines. */
function result<T>(text: string, status: number): T {
  const last = text.trimEnd().split("\n").pop() ?? "";
  let said: { result?: T; failed?: { error: string; hint?: string }; error?: string; hint?: string };
  try {
    said = JSON.parse(last) as typeof said;
  } catch {
    throw new Failure(`the daemon's answer is unreadable (${status})`, "devloop version, here and there", status);
  }
  if (said.failed) throw new Failure(said.failed.error, said.failed.hint ?? "", status);
  if (said.error !== undefined) throw new Failure(said.error, said.hint ?? "", status);
  if (said.result === undefined) throw new Failure("the daemon ended in the middle of its answer", "devloop status", status);
  return said.result;
}

const again = 1000; // ms after a stream ended

/** Lines cuts a stream of text into lines of JSON. */
class Lines {
  private rest = "";
  constructor(private onLine: (line: unknown) => void) {}
  add(text: string) {
    const parts = (this.rest + text).split("\n");
    this.rest = parts.pop() ?? "";
    for (const p of parts) if (p !== "") this.onLine(JSON.parse(p));
  }
}

const keyName = "devloop-key"; // in sessionStorage, which belongs to this address and this tab alone

class Browser implements Transport {
  private constructor(private key: string) {}

  /** open exchanges the code of the address for a key. What stands behind # never leaves the browser, and is gone from the address at once. */
  static async enter(): Promise<Browser> {
    const code = /^#code=([A-Z0-9]+)$/.exec(location.hash)?.[1];
    if (code) {
      history.replaceState(null, "", location.pathname);
      const r = await fetch("session", { method: "POST", body: JSON.stringify({ code }), headers: { "Content-Type": "application/json" } });
      const said = (await r.json()) as { key?: string; error?: string; hint?: string };
      if (said.key) sessionStorage.setItem(keyName, said.key);
      else if (!sessionStorage.getItem(keyName)) throw new Failure(said.error ?? "the daemon does not let this page in", said.hint, r.status);
    }
    const key = sessionStorage.getItem(keyName);
    if (!key) throw new Failure("this page has not been opened by devloop", "devloop dashboard opens it", 401);
    return new Browser(key);
  }

  private send(name: Name, request: object, signal?: AbortSignal): Promise<Response> {
    return fetch("/v1/" + name, {
      method: "POST", body: JSON.stringify(request), headers: { "Content-Type": "application/json", Authorization: "Bearer " + this.key }, signal: signal ?? null,
    });
  }

  async ask<T>(name: Name, request: object, signal?: AbortSignal): Promise<T> {
    let r: Response;
    try {
      r = await this.send(name, request, signal);
    } catch (e) {
      if (signal?.aborted) throw e;
      throw new Failure("the daemon does not answer", "devloop dashboard starts it and opens this page anew");
    }
    return result<T>(await r.text(), r.status);
  }

  subscribe(name: Name, onLine: (line: unknown) => void, onState: (connected: boolean) => void): () => void {
    let stop = new AbortController();
    let ended = false;
    let timer = 0;
    const listen = async () => {
      const lines = new Lines(onLine);
      try {
        const r = await this.send(name, {}, stop.signal);
        onState(r.ok);
        const reader = r.ok ? r.body?.pipeThrough(new TextDecoderStream()).getReader() : undefined;
        for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) lines.add(piece.value);
      } catch {
        if (stop.signal.aborted) return;
      }
      if (ended) return;
      onState(false);
      timer = window.setTimeout(listen, again);
    };
    // A hidden page holds no connection: browsers have six for an address.
    const turn = () => {
      stop.abort();
      clearTimeout(timer);
      if (document.hidden || ended) return;
      stop = new AbortController();
      void listen();
    };
    document.addEventListener("visibilitychange", turn);
    turn();
    return () => {
      ended = true;
      document.removeEventListener("visibilitychange", turn);
      turn();
    };
  }

  save(name: string, base64: string) {
    const url = URL.createObjectURL(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]));
    const a = document.createElement("a");
    a.href = url;
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  remember(place: string) {
    if (location.hash !== "#" + place) history.pushState(null, "", "#" + place);
  }

  recall() {
    return location.hash.slice(1);
  }

  onNavigate(go: (place: string) => void) {
    window.addEventListener("popstate", () => go(this.recall()));
  }
}

interface Host {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare global {
  var acquireVsCodeApi: (() => Host) | undefined;
}

type FromHost =
  | { type: "response"; id: number; status: number; body: string }
  | { type: "line"; id: number; line: string }
  | { type: "end"; id: number; status: number }
  | { type: "navigate"; to: string };

class Webview implements Transport {
  private last = 0;
  private waiting = new Map<number, (status: number, body: string) => void>();
  private streams = new Map<number, { line: (line: unknown) => void; end: () => void }>();
  private go: (place: string) => void = () => {};

  constructor(private host: Host) {
    window.addEventListener("message", (e: MessageEvent<FromHost>) => this.receive(e.data));
    this.host.postMessage({ type: "ready" });
  }

  private receive(m: FromHost) {
    switch (m.type) {
      case "response":
        this.waiting.get(m.id)?.(m.status, m.body);
        this.waiting.delete(m.id);
        break;
      case "line":
        this.streams.get(m.id)?.line(JSON.parse(m.line));
        break;
      case "end":
        this.streams.get(m.id)?.end();
        this.streams.delete(m.id);
        break;
      case "navigate":
        this.go(m.to);
    }
  }

  ask<T>(name: Name, request: object, signal?: AbortSignal): Promise<T> {
    const id = ++this.last;
    return new Promise<T>((resolve, reject) => {
      signal?.addEventListener("abort", () => {
        if (this.waiting.delete(id)) this.host.postMessage({ type: "cancel", id });
        reject(new DOMException("aborted", "AbortError"));
      });
      this.waiting.set(id, (status, body) => {
        try {
          if (status === 0) throw new Failure(body || "no daemon runs for this workspace", "devloop up");
          resolve(result<T>(body, status));
        } catch (e) {
          reject(e as Error);
        }
      });
      this.host.postMessage({ type: "request", id, method: "POST", path: "/v1/" + name, body: JSON.stringify(request) });
    });
  }

  subscribe(name: Name, onLine: (line: unknown) => void, onState: (connected: boolean) => void): () => void {
    let ended = false;
    let id = 0;
    const listen = () => {
      if (ended) return;
      id = ++this.last;
      this.streams.set(id, {
        line: (l) => { onState(true); onLine(l); },
        end: () => { onState(false); setTimeout(listen, again); },
      });
      this.host.postMessage({ type: "subscribe", id, path: "/v1/" + name, body: "{}" });
    };
    listen();
    return () => {
      ended = true;
      this.streams.delete(id);
      this.host.postMessage({ type: "unsubscribe", id });
    };
  }

  open = (file: string, line: number) => this.host.postMessage({ type: "open", file, line });

  save(name: string, base64: string) {
    this.host.postMessage({ type: "save", name, data: base64 });
  }

  remember(place: string) {
    this.host.setState({ place });
  }

  recall() {
    const state = this.host.getState() as { place?: string } | undefined;
    return state?.place ?? "";
  }

  onNavigate(go: (place: string) => void) {
    this.go = go;
  }
}

/** connect finds out where the page runs. */
export async function connect(): Promise<Transport> {
  return globalThis.acquireVsCodeApi ? new Webview(globalThis.acquireVsCodeApi()) : Browser.enter();
}
