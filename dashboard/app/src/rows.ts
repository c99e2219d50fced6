// The calls of a list: as many as there are up to a bound, in little memory, fetched page by page.
import { signal } from "@preact/signals";
import { type Calls, type Line, type Reading, type Scope } from "./api";
import { ask, explain, nameOf } from "./state";
import type { Failure } from "./transport";

/** most rows are kept; beyond it a filter has to narrow the list. */
export const most = 200_000;
const pageSize = 1000;
const fresh = 800; // ms between two looks at live traffic
const late = 5000; // ms: an answer may change calls that began so long ago
const catchUp = 5; // pages of live traffic at once; beyond it the list begins anew

/** Row is what a list shows of a call. Its texts are shared with other rows. */
export interface Row {
  id: string;
  ts: number;
  src: string;
  dst: string;
  proto: string;
  method: string;
  path: string;
  status: number;
  result: string;
  failed: boolean;
  waits: boolean;
  latency: number;
  attempt: number;
}

/** Words keeps one copy of each text. */
class Words {
  private known = new Map<string, string>();
  of(text: string): string {
    const same = this.known.get(text);
    if (same !== undefined) return same;
    if (this.known.size > 50_000) this.known.clear();
    this.known.set(text, text);
    return text;
  }
}

export class Rows {
  readonly list = signal<Row[]>([]);
  readonly total = signal(0);
  readonly least = signal(false);
  readonly reading = signal<Reading | undefined>(undefined);
  readonly failure = signal<Failure | undefined>(undefined);
  readonly busy = signal(false);
  readonly paused = signal(false);
  /** grown is how many rows came in front of the others with the last look. */
  grown = 0;

  private words = new Words();
  private stop = new AbortController();
  private timer = 0;
  private cursor: string | undefined;
  private fetching = false;
  private frame = 0;
  private next: Row[] | undefined;

  /** open begins a list. */
  async open(scope: Scope, kfl: string, live: boolean) {
    this.close();
    const stop = (this.stop = new AbortController());
    this.busy.value = true;
    this.cursor = undefined;
    const question = { ...scope, kfl, format: "line", limit: pageSize };
    try {
      const a = await ask<Calls>("list_api_calls", { ...question, limit: 200 }, stop.signal); // the first screen at once
      if (stop.signal.aborted) return;
      this.failure.value = undefined;
      this.show(a.calls.map((l) => this.row(l)));
      this.told(a);
      this.cursor = a.cursor;
      this.busy.value = false;
      if (live) this.timer = window.setTimeout(() => void this.look(question, stop.signal), fresh);
      else void this.fill(question, stop.signal);
    } catch (e) {
      if (stop.signal.aborted) return;
      this.busy.value = false;
      this.failure.value = explain(e);
      if (this.rows.length === 0) this.total.value = 0;
      if (live && !/^\d+:\d+: /.test(this.failure.value.message)) this.timer = window.setTimeout(() => void this.open(scope, kfl, live), 2000);
    }
  }

  close() {
    this.stop.abort();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.next = undefined;
    this.fetching = false;
  }

  private told(a: Calls) {
    this.total.value = a.total;
    this.least.value = a.total_is_least ?? false;
    this.reading.value = a;
  }

  private row(l: Line): Row {
    const w = this.words;
    return {
      id: l.id, ts: l.ts, src: w.of(nameOf(l.src)), dst: w.of(nameOf(l.dst)), proto: w.of(l.proto), method: w.of(l.method), path: w.of(l.path), status: l.status, result: w.of(l.result),
      failed: l.failed ?? false, waits: l.state === "open", latency: l.latency_ms, attempt: l.retry?.attempt ?? 0,
    };
  }

  /** show changes the list with the next frame, however many answers came before it. */
  private show(rows: Row[]) {
    this.next = rows;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (this.next) this.list.value = this.next;
      this.next = undefined;
    });
  }

  private get rows() {
    return this.next ?? this.list.peek();
  }

  /** fill fetches the rest in the background, so that scrolling finds it there. */
  private async fill(question: object, stop: AbortSignal) {
    if (this.fetching) return;
    this.fetching = true;
    const grown = [...this.rows];
    let shown = 0;
    try {
      while (this.cursor && grown.length < most && !stop.aborted) {
        const a = await ask<Calls>("list_api_calls", { ...question, cursor: this.cursor }, stop);
        for (const l of a.calls) grown.push(this.row(l));
        this.cursor = a.cursor;
        this.grown = 0;
        if (stop.aborted || this.cursor && grown.length < shown + 10_000 && shown > 0) continue; // copies cost more than rows
        shown = grown.length;
        this.show(grown.slice());
      }
      if (!stop.aborted && grown.length !== shown) this.show(grown);
    } catch (e) {
      if (!stop.aborted) this.failure.value = explain(e);
    }
    this.fetching = false;
  }

  /** look asks for what is new, and for what may have changed meanwhile. */
  private async look(question: object, stop: AbortSignal) {
    if (!this.paused.value && !document.hidden) {
      try {
        await this.take(question, stop);
        this.failure.value = undefined;
      } catch (e) {
        if (stop.aborted) return;
        this.failure.value = explain(e);
      }
    }
    if (!stop.aborted) this.timer = window.setTimeout(() => void this.look(question, stop), fresh);
  }

  private async take(question: object, stop: AbortSignal) {
    const old = this.rows;
    const head = await ask<Calls>("list_api_calls", { ...question, limit: 1 }, stop);
    const first = head.calls[0];
    const quiet = head.total === this.total.peek() && first?.id === old[0]?.id && !old.some((r) => r.waits);
    this.told(head);
    if (quiet || !first) return;
    const newest = old[0]?.ts ?? 0;
    const from = newest - late;
    const news: Row[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const a: Calls = await ask<Calls>("list_api_calls", { ...question, ...(newest ? { start: Math.max(1, from) } : {}), cursor }, stop);
      for (const l of a.calls) news.push(this.row(l));
      cursor = a.cursor;
    } while (cursor && ++pages < catchUp);
    const keep = cursor ? [] : old.slice(firstBefore(old, from)); // what came was too much: the list has no holes
    if (same(news, old)) return;
    this.grown = Math.max(0, news.length + keep.length - old.length);
    this.show(news.concat(keep).slice(0, most));
  }
}

/** firstBefore is where the rows begin that are older; the newest come first. */
function firstBefore(rows: Row[], ts: number): number {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]!.ts >= ts) low = middle + 1;
    else high = middle;
  }
  return low;
}

function same(news: Row[], old: Row[]): boolean {
  for (let i = 0; i < news.length; i++) {
    const a = news[i]!, b = old[i];
    if (!b || a.id !== b.id || a.result !== b.result || a.latency !== b.latency) return false;
  }
  return true;
}
