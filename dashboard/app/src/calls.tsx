// The calls: a filter, what they amount to over time, the list, and the call that was chosen.
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { StatsAnswer } from "./api";
import { CallDetail } from "./call";
import { Grid, type Column } from "./list";
import { Problem, Split, useAnswer } from "./parts";
import { Rows, type Row } from "./rows";
import { adjust, db, narrowed, place, quoted, scopeOf } from "./state";
import { clock, count, ms, percent } from "./text";
import type { Failure } from "./transport";

const kfl = () => place.value.about.kfl ?? "";

/** conditions are what a row can be filtered by: what stands in a column, and the filter for it. */
function conditions(r: Row): { column: string; clause: string }[] {
  const list = [
    { column: "src", clause: `src.name == ${quoted(r.src)}` },
    { column: "dst", clause: `dst.name == ${quoted(r.dst)}` },
    { column: "proto", clause: r.proto === "grpc" ? "grpc" : `protocol == ${quoted(r.proto)}` },
    { column: "method", clause: `method == ${quoted(r.method)}` },
    { column: "path", clause: `path == ${quoted(r.path)}` },
  ];
  if (r.status !== 0) list.push({ column: "result", clause: `status_code == ${r.status}` });
  if (r.latency > 0) list.push({ column: "latency", clause: `latency_ms >= ${r.latency}` });
  return list.filter((c) => !c.clause.endsWith('""'));
}

const apply = (clause: string) => adjust({ kfl: narrowed(kfl(), clause) });

/** Pick is a cell that filters by what it shows. The keys have a menu for that. */
function Pick({ row, column, children }: { row: Row; column: string; children: string }) {
  const it = conditions(row).find((c) => c.column === column);
  if (!it) return <>{children}</>;
  const onClick = (e: MouseEvent) => {
    e.stopPropagation();
    apply(e.altKey ? `!(${it.clause})` : it.clause);
  };
  return (
    <>
      <span class="text">{children}</span>
      <button type="button" class="pick" tabIndex={-1} aria-label={"filter: " + it.clause} title={it.clause + "\nAlt: all others"} onClick={onClick}>
        <svg viewBox="0 0 12 12" aria-hidden="true"><path d="M1 2h10L7.2 6.5V10L4.8 11V6.5z" /></svg>
      </button>
    </>
  );
}

const columns: Column<Row>[] = [
  { name: "time", title: "Time", class: "mono dim", cell: (r) => clock(r.ts) },
  { name: "src", title: "From", cell: (r) => <Pick row={r} column="src">{r.src}</Pick> },
  { name: "dst", title: "To", cell: (r) => <Pick row={r} column="dst">{r.dst}</Pick> },
  { name: "proto", title: "Protocol", class: "dim", cell: (r) => <Pick row={r} column="proto">{r.proto}</Pick> },
  { name: "method", title: "Method", class: "mono", cell: (r) => <Pick row={r} column="method">{r.method}</Pick> },
  { name: "path", title: "Path", class: "mono", cell: (r) => <Pick row={r} column="path">{r.path}</Pick> },
  { name: "result", title: "Result", class: "mono", cell: (r) => <Pick row={r} column="result">{r.waits ? "…" : r.result}</Pick> },
  { name: "latency", title: "Latency", class: "mono num", cell: (r) => <Pick row={r} column="latency">{r.waits ? "" : ms(r.latency)}</Pick> },
];

/** position of an error in a filter, from the daemon's "line:column: sentence". */
function position(f: Failure): { column: number; sentence: string; hint: string } | undefined {
  const [head = "", ...rest] = f.message.split("\n");
  const m = /^1:(\d+): (.*)$/.exec(head);
  return m ? { column: Number(m[1]), sentence: m[2]!, hint: rest.find((l) => l.startsWith("hint: "))?.slice(6) ?? "" } : undefined;
}

/** Bar is where a filter is typed. */
function Bar({ failure }: { failure: Failure | undefined }) {
  const box = useRef<HTMLInputElement>(null);
  const draft = useSignal(kfl());
  useSignalEffect(() => { draft.value = kfl(); });
  const wrong = failure && position(failure);
  const timer = useRef(0);
  const typed = (text: string) => {
    draft.value = text;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => adjust({ kfl: text.trim() }), 350);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <div class={"bar-kfl" + (wrong ? " wrong" : "")}>
      <div class="field">
        <label for="kfl" class="hint">Filter</label>
        <input id="kfl" ref={box} type="text" class="mono" value={draft.value} spellcheck={false} autocomplete="off" autocapitalize="off" placeholder={'http && status_code >= 500 && dst.name == "orders"'}
          aria-invalid={wrong ? "true" : undefined} aria-describedby={wrong ? "kfl-error" : undefined} onInput={(e) => typed(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === "Enter") { clearTimeout(timer.current); adjust({ kfl: e.currentTarget.value.trim() }); }
            if (e.key === "Escape" && draft.value) { e.stopPropagation(); typed(""); }
            if (e.key === "ArrowDown") document.querySelector<HTMLElement>("[role=grid]")?.focus();
          }} />
        {draft.value && <button type="button" class="clear" aria-label="clear the filter" onClick={() => { typed(""); box.current?.focus(); }}>×</button>}
      </div>
      {wrong && (
        <div id="kfl-error" class="kfl-error" role="alert">
          <div class="place" aria-hidden="true"><span class="hint">Filter</span><pre>{" ".repeat(wrong.column - 1) + "^"}</pre></div>
          <span><b>column {wrong.column}:</b> {wrong.sentence}{wrong.hint && <span class="dim"> — {wrong.hint}</span>}</span>
        </div>
      )}
    </div>
  );
}

const lengths = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 3_600_000];

/** Timeline shows how many calls there were, and how many failed, in each stretch of time. */
function Timeline({ rows }: { rows: Rows }) {
  const live = db.value === "live";
  const step = useComputed(() => {
    const r = rows.reading.value;
    const span = r ? Math.max(1, r.end_ts - r.start_ts) : 0;
    return span ? lengths.find((l) => span / l <= 120) ?? 3_600_000 : 0;
  });
  const { answer } = useAnswer<StatsAnswer>("get_api_stats", () => (step.value ? { ...scopeOf(db.value), kfl: kfl(), bucket_ms: step.value, limit: 1 } : undefined), live ? 2500 : 0);
  const a = answer.value;
  if (!a) return <div class="timeline" />;
  const buckets = a.buckets ?? [];
  const from = buckets[0]?.ts ?? 0;
  const places = Math.max(1, (buckets.at(-1)?.ts ?? 0) - from) / step.value + 1;
  const top = Math.max(1, ...buckets.map((b) => b.total_calls));
  const t = a.totals;
  const width = 100 / places;
  return (
    <div class="timeline">
      <dl class="figures">
        <div><dt>calls</dt><dd>{count(t.total_calls)}</dd></div>
        <div><dt>per second</dt><dd>{t.calls_per_second >= 100 ? count(t.calls_per_second) : t.calls_per_second.toFixed(1)}</dd></div>
        <div class={t.errors > 0 ? "bad" : ""}><dt>failed</dt><dd>{count(t.errors)} <small>{percent(t.error_rate)}</small></dd></div>
        <div><dt>p50</dt><dd>{ms(t.p50_ms)}</dd></div>
        <div><dt>p99</dt><dd>{ms(t.p99_ms)}</dd></div>
      </dl>
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label={`${count(t.total_calls)} calls over time, at most ${count(top)} in ${ms(step.value)}; ${count(t.errors)} failed`}>
        {buckets.map((b) => {
          const x = ((b.ts - from) / step.value) * width, h = (36 * b.total_calls) / top, e = b.errors ? Math.max(2, (36 * b.errors) / top) : 0;
          return (
            <g key={b.ts}>
              <title>{`${clock(b.ts)}: ${count(b.total_calls)} calls, ${count(b.errors)} failed, p99 ${ms(b.p99_ms)}`}</title>
              <rect x={x} y={0} width={width} height={40} class="touch" />
              <rect x={x} y={40 - h} width={width * 0.82} height={h} class="some" />
              {e > 0 && <rect x={x} y={40 - e} width={width * 0.82} height={e} class="errors" />}
            </g>
          );
        })}
      </svg>
    </div>
  );
}

/** Menu filters by the chosen row, with the keys. */
function Menu({ row, close }: { row: Row; close: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current?.showModal();
    return () => before?.focus();
  }, []);
  const list = conditions(row);
  const keys = (e: KeyboardEvent) => {
    const all = [...box.current!.querySelectorAll("button")];
    const step = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
    if (step) {
      e.preventDefault();
      all[(all.indexOf(document.activeElement as HTMLButtonElement) + step + all.length) % all.length]?.focus();
    }
  };
  return (
    <dialog ref={box} class="menu" aria-label="filter by this call" onClose={close} onKeyDown={keys} onClick={(e) => { if (e.target === box.current) close(); }}>
      <h2>Filter by this call</h2>
      {list.map((c) => (
        <div key={c.column} class="pair">
          <button type="button" class="mono" onClick={() => { apply(c.clause); close(); }}>{c.clause}</button>
          <button type="button" class="not" aria-label={`all but ${c.clause}`} onClick={() => { apply(`!(${c.clause})`); close(); }}>not</button>
        </div>
      ))}
    </dialog>
  );
}

export function Calls() {
  const rows = useMemo(() => new Rows(), []);
  const menu = useSignal<Row | undefined>(undefined);
  const chosen = useSignal(place.peek().about.id ?? "");
  const which = useComputed(() => db.value + "\u0000" + kfl());
  useSignalEffect(() => {
    const [name = "live", filter = ""] = which.value.split("\u0000");
    void rows.open(scopeOf(name), filter, name === "live");
  });
  useEffect(() => () => rows.close(), []);
  useSignalEffect(() => { if (place.value.about.id) chosen.value = place.value.about.id; });
  const id = place.value.view === "calls" ? place.value.about.id : undefined;
  const live = db.value === "live";
  const failure = rows.failure.value;
  const total = rows.total.value;
  const close = () => {
    adjust({ id: "", tab: "" });
    document.querySelector<HTMLElement>("[role=grid]")?.focus();
  };
  const choose = (r: Row) => {
    chosen.value = r.id;
    if (place.peek().about.id) adjust({ id: r.id }); // an open detail follows
  };
  const onKey = (e: KeyboardEvent, row: Row | undefined) => {
    if (e.key === "f" && row) menu.value = row;
    else if (e.key === " " && live) { e.preventDefault(); rows.paused.value = !rows.paused.value; }
  };
  const reading = rows.reading.value;
  const main = (
    <div class="calls">
      <Bar failure={failure} />
      <Timeline rows={rows} />
      {failure && !position(failure) && <Problem f={failure} />}
      <Grid label="calls" columns={columns} rows={rows.list} total={total} grown={() => rows.grown} chosen={chosen.value} choose={choose} enter={(r) => adjust({ id: r.id })} onKey={onKey}
        rowClass={(r) => (r.failed ? "failed" : r.waits ? "waits" : "")}
        empty={rows.busy.value ? "…" : failure ? "" : reading?.why ? `Nothing: ${reading.why}` : live ? "No call yet. Calls show here as they are answered; an iteration above has those of its window." : "No call."} />
      <div class="foot">
        {live && <button type="button" class="live" aria-pressed={!rows.paused.value} onClick={() => { rows.paused.value = !rows.paused.value; }} title="Space, in the list">{rows.paused.value ? "▶ go on" : "❚❚ live"}</button>}
        <span>{rows.list.value.length < total ? `${count(rows.list.value.length)} of ` : ""}{rows.least.value ? "at least " : ""}{count(total)} calls</span>
        {reading?.rewritten && <span class="dim">read as <code>{reading.rewritten}</code></span>}
        {reading?.incomplete && <span class="warn">{reading.incomplete}</span>}
        {reading?.warnings?.map((w) => <span key={w} class="warn">{w}</span>)}
        <span class="dim keys"><kbd>/</kbd> filter <kbd>↑↓</kbd> move <kbd>Enter</kbd> open <kbd>f</kbd> filter by <kbd>Esc</kbd> close</span>
      </div>
      {menu.value && <Menu row={menu.value} close={() => { menu.value = undefined; }} />}
    </div>
  );
  return <Split name="call" main={main} close={close} side={id ? <CallDetail key={id + db.value} id={id} close={close} /> : undefined} />;
}
