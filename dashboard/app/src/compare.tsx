// What differs: between two iterations, and from a baseline.
import { useSignal } from "@preact/signals";
import type { BaselineAnswer, Baselines, Comparison } from "./api";
import { Empty, Problem, Section, useAnswer, Link } from "./parts";
import { Effects } from "./plot";
import { adjust, ask, explain, iterations, place, scopeOf } from "./state";
import { count, ms, percent, plural } from "./text";
import type { Failure } from "./transport";

export function Compare() {
  const sealed = iterations.value.filter((i) => i.snapshot);
  const b = place.value.about.b || sealed[0]?.id || "";
  const a = place.value.about.a || (sealed.find((i) => i.verdict === "pass" && i.id !== b) ?? sealed[1])?.id || "";
  return (
    <div class="scroller page">
      <Section title="Two iterations">
        {sealed.length < 2 ? <Empty>There are not two iterations with traffic yet.</Empty> : (
          <>
            <div class="form">
              <Choice label="before" value={a} choose={(v) => adjust({ a: v })} /> <span aria-hidden="true">→</span> <Choice label="after" value={b} choose={(v) => adjust({ b: v })} />
            </div>
            <Difference a={a} b={b} />
          </>
        )}
      </Section>
      <BaselineDiff />
    </div>
  );
}

const Choice = ({ label, value, choose }: { label: string; value: string; choose: (v: string) => void }) => (
  <label>{label} <select value={value} onChange={(e) => choose(e.currentTarget.value)}>
    {iterations.value.filter((i) => i.snapshot).map((i) => <option key={i.id} value={i.id}>{`${i.id} · ${i.revision} · ${i.verdict ?? i.state}`}</option>)}
  </select></label>
);

const worse = new Set(["failing", "slower", "lost"]);
const better = new Set(["mended", "faster"]);

function Difference({ a, b }: { a: string; b: string }) {
  const { answer, failure, busy } = useAnswer<Comparison>("compare_traffic", () => {
    const now = place.value.about; // a and b as they are, not as they were when this was made
    const sealed = iterations.value.filter((i) => i.snapshot);
    const after = now.b || sealed[0]?.id || b;
    const before = now.a || (sealed.find((i) => i.verdict === "pass" && i.id !== after) ?? sealed[1])?.id || a;
    return { a: scopeOf(before), b: scopeOf(after), limit: 200 };
  });
  if (failure.value) return <Problem f={failure.value} />;
  const d = answer.value;
  if (!d) return null;
  const changed = d.endpoints.filter((e) => e.change !== "same" && e.change !== "unsure");
  const most = Math.max(0.001, ...changed.flatMap((e) => (e.shift ? [Math.abs(e.shift.low_ms), Math.abs(e.shift.high_ms)] : [])));
  const x = (v: number) => 50 + (48 * Math.sign(v) * Math.sqrt(Math.abs(v))) / Math.sqrt(most);
  return (
    <div aria-busy={busy.value}>
      <p class="dim">{plural(d.a.total_calls, "call")}, {percent(d.a.error_rate)} failed → {plural(d.b.total_calls, "call")}, {percent(d.b.error_rate)} failed · {d.basis}</p>
      {d.findings.length > 0 && <ul class="said">{d.findings.map((f) => <li key={f}>{f}</li>)}</ul>}
      {changed.length === 0 ? <p>No endpoint differs in a way that can be told from chance.</p> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="endpoints that differ"><table class="endpoints">
          <thead><tr><th>endpoint</th><th>change</th><th class="num">calls</th><th class="num">failed</th><th class="num">p50</th><th class="num">p99</th><th class="num">shift</th><th><span class="sr">shift, drawn</span></th></tr></thead>
          <tbody>{changed.map((e) => (
            <tr key={e.endpoint} class={worse.has(e.change) ? "failed" : ""}>
              <td class="mono">{e.example ? <Link to="calls" about={{ db: e.calls[1] ? b : a, id: e.example }}>{e.endpoint}</Link> : e.endpoint}</td>
              <td class={worse.has(e.change) ? "bad" : better.has(e.change) ? "good" : ""}>{e.change}</td>
              <td class="mono num">{count(e.calls[0])} → {count(e.calls[1])}</td><td class="mono num">{count(e.errors[0])} → {count(e.errors[1])}</td>
              <td class="mono num">{ms(e.p50_ms[0])} → {ms(e.p50_ms[1])}</td><td class="mono num">{ms(e.p99_ms[0])} → {ms(e.p99_ms[1])}</td>
              <td class="mono num">{e.shift && `${e.shift.ms > 0 ? "+" : e.shift.ms < 0 ? "−" : ""}${ms(Math.abs(e.shift.ms))}`}</td>
              <td class="wide">{e.shift && <svg class="forest" viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label={`between ${e.shift.low_ms} and ${e.shift.high_ms} ms`}>
                <line x1={50} x2={50} y1={0} y2={14} class="zero" /><line x1={x(e.shift.low_ms)} x2={x(e.shift.high_ms)} y1={7} y2={7} class="range" /><rect x={x(e.shift.ms) - 0.7} y={3} width={1.4} height={8} class="at" /></svg>}</td>
            </tr>
          ))}</tbody>
        </table></div>
      )}
      <Edges title="New edges" list={d.new_edges} /><Edges title="Lost edges" list={d.lost_edges} />
      {d.fields.length > 0 && (
        <><h3>Headers and fields</h3><ul class="plain">{d.fields.map((f) => <li key={f.endpoint + f.place + f.name}><b>{f.change}</b> <span class="mono">{f.place} {f.name}</span> <span class="dim">of {f.endpoint}: {f.present[0]}/{f.of[0]} → {f.present[1]}/{f.of[1]}</span></li>)}</ul></>
      )}
    </div>
  );
}

const Edges = ({ title, list }: { title: string; list: Comparison["new_edges"] }) => (list.length === 0 ? null : (
  <><h3>{title}</h3><ul class="plain">{list.map((e) => <li key={e.src + e.dst + e.proto}>{e.src} → {e.dst} <span class="dim">{e.proto}, {plural(e.calls, "call")}{e.outside ? ", leaves the system" : ""}</span></li>)}</ul></>
));

function BaselineDiff() {
  const { answer, failure } = useAnswer<Baselines>("baseline_list", () => ({}));
  const report = useSignal<BaselineAnswer | undefined>(undefined);
  const wrong = useSignal<Failure | undefined>(undefined);
  const busy = useSignal("");
  const list = answer.value?.baselines ?? [];
  const compare = async (name: string) => {
    busy.value = name;
    try {
      report.value = await ask<BaselineAnswer>("baseline_compare", { name });
      wrong.value = undefined;
    } catch (e) {
      wrong.value = explain(e);
    }
    busy.value = "";
  };
  const r = report.value;
  return (
    <Section title="Baselines">
      {failure.value && <Problem f={failure.value} />}
      {answer.value && list.length === 0 && <Empty>None has been recorded. <code>devloop baseline record</code> keeps how the services speak now as a file to review.</Empty>}
      {list.length > 0 && (
        <table><thead><tr><th>name</th><th>file</th><th>exercise</th><th>recorded</th><th class="num">runs</th><th class="num">endpoints</th><th class="num">edges</th><th><span class="sr">compare</span></th></tr></thead>
          <tbody>{list.map((x) => <tr key={x.name} class={x.problem ? "failed" : ""}><td>{x.name}</td><td class="mono">{x.file}</td><td>{x.exercise}</td><td class="mono dim">{x.recorded}</td><td class="mono num">{x.runs}</td><td class="mono num">{x.endpoints}</td><td class="mono num">{x.edges}</td>
            <td>{x.problem ?? <button type="button" disabled={busy.value !== ""} onClick={() => void compare(x.name)}>{busy.value === x.name ? "…" : "compare"}</button>}</td></tr>)}</tbody></table>
      )}
      {wrong.value && <Problem f={wrong.value} />}
      {r && <div aria-live="polite"><h3>{r.iterations.join(", ")} against {r.name}</h3>{(r.report?.findings ?? []).length > 0 ? <Effects findings={r.report!.findings!} /> : <p>Nothing differs.</p>}{r.next && <p class="dim">{r.next}</p>}</div>}
    </Section>
  );
}
