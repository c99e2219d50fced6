// What all views share: where the page is, which traffic it looks at, and where the loop stands.
import { batch, computed, effect, signal } from "@preact/signals";
import type { IterationInfo, Iterations, Scope, Status } from "./api";
import { Failure, type Name, type Transport } from "./transport";

/** Place is where the page is: a view and what it is about. */
export interface Place {
  view: string;
  about: Record<string, string>;
}

export const place = signal<Place>({ view: "calls", about: {} });
export const status = signal<Status | undefined>(undefined);
export const iterations = signal<IterationInfo[]>([]);
export const connected = signal(true);
export const said = signal(""); // what a screen reader tells

let transport: Transport;

export function read(text: string): Place {
  const [view = "", rest = ""] = text.split("?", 2);
  return { view: view || "calls", about: Object.fromEntries(new URLSearchParams(rest)) };
}

export function written(p: Place): string {
  const about = new URLSearchParams(Object.entries(p.about).filter(([, v]) => v !== ""));
  return p.view + (about.size > 0 ? "?" + about.toString() : "");
}

/** go shows another place. The traffic that is looked at stays the same unless the place says otherwise. */
export function go(view: string, about: Record<string, string> = {}) {
  const db = place.value.about.db;
  place.value = { view, about: { ...(db ? { db } : {}), ...about } };
  transport.remember(written(place.value));
}

/** adjust changes what the place is about without a step in the history. */
export function adjust(about: Record<string, string>) {
  place.value = { view: place.value.view, about: { ...place.value.about, ...about } };
  transport.remember(written(place.value));
}

export const ask = <T,>(name: Name, request: object, stop?: AbortSignal) => transport.ask<T>(name, request, stop);
export const opener = () => transport.open;
export const save = (name: string, base64: string) => transport.save(name, base64);

/** db is which traffic is looked at: live, an iteration, a snapshot or one of its dissections. */
export const db = computed(() => place.value.about.db || "live");

/** scope says so to the daemon. */
export function scopeOf(name: string): Scope {
  if (name === "live") return {};
  return name.includes("/") ? { db: name } : { snapshot_id: name };
}

export const explain = (e: unknown) => (e instanceof Failure ? e : new Failure(e instanceof Error ? e.message : String(e)));

/** tell says something to screen readers. */
export function tell(text: string) {
  said.value = "";
  requestAnimationFrame(() => { said.value = text; });
}

export async function refresh() {
  try {
    const [s, i] = await Promise.all([ask<Status>("status", {}), ask<Iterations>("iterations", { limit: 200 })]);
    batch(() => {
      status.value = s;
      iterations.value = i.iterations;
      connected.value = true;
    });
  } catch (e) {
    connected.value = false;
    throw e;
  }
}

/** start joins the page to its daemon. */
export async function start(t: Transport) {
  transport = t;
  place.value = read(t.recall());
  t.onNavigate((to) => { place.value = read(to); });
  await refresh();
  let due = 0;
  t.subscribe("events", (line) => {
    const it = (line as { iteration?: { id: string; state: string; verdict?: string } }).iteration;
    if (it?.state !== "running" && it?.verdict) tell(`iteration ${it.id}: ${it.verdict}`);
    clearTimeout(due);
    due = window.setTimeout(() => void refresh().catch(() => {}), 120); // events come in groups
  }, (on) => {
    if (on && !connected.value) void refresh().catch(() => {});
    if (!document.hidden) connected.value = on;
  });
  effect(() => {
    const last = iterations.value.find((i) => i.verdict);
    document.title = last ? `${last.verdict === "pass" ? "✓" : "✗"} ${last.id} · devloop` : "devloop";
  });
}

/** narrowed adds a condition to a filter. */
export function narrowed(kfl: string, clause: string): string {
  const old = kfl.trim();
  if (old === "") return clause;
  if (old.split("&&").some((part) => part.trim() === clause)) return old;
  return (old.includes("||") ? `(${old})` : old) + " && " + clause;
}

/** quoted writes a text as CEL reads it. */
export const quoted = (text: string) => JSON.stringify(text);

export const nameOf = (e: { svc?: string; pod?: string; ip: string }) => e.svc || e.pod || e.ip;
