// The tree of calls that a call belongs to, laid out in time.
import { useAnswer, Empty, Link, Problem, Section } from "./parts";
import type { Tree, TraceNode } from "./api";
import { db, place, scopeOf } from "./state";
import { ms, percent, plural } from "./text";

/** flat is a tree in the order in which it is read. */
function flat(root: TraceNode): TraceNode[] {
  const list: TraceNode[] = [];
  const walk = (n: TraceNode) => {
    list.push(n);
    n.children?.forEach(walk);
  };
  walk(root);
  return list;
}

/** ticks are round times along an axis. */
function ticks(end: number): number[] {
  const rough = end / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const list: number[] = [];
  for (let t = 0; t <= end * 1.0001; t += step) list.push(t);
  return list;
}

export function Waterfall({ id, kfl }: { id?: string; kfl?: string }) {
  const { answer, failure, busy } = useAnswer<Tree>("get_call_tree", () => ({ ...scopeOf(db.value), ...(id ? { id } : { kfl: kfl ?? "" }), limit: 500 }));
  if (failure.value) return <Problem f={failure.value} />;
  const a = answer.value;
  if (!a?.root) return busy.value ? null : <Empty>No call tree. {a?.why}</Empty>;
  const list = flat(a.root);
  const end = Math.max(a.root.latency_ms, ...list.map((n) => n.start_ms + n.latency_ms), 0.001);
  const marks = ticks(end);
  return (
    <>
      {a.gave_up_first && <p class="bad">{a.gave_up_first}</p>}
      <div class="waterfall" role="treegrid" aria-label="call tree">
        <div role="row" class="axis">
          <div role="columnheader">call</div>
          <div role="columnheader" class="lane" aria-label="time">{marks.map((t) => <span key={t} class="mono" ref={(s) => { s?.style.setProperty("left", (100 * t) / end + "%"); }}>{ms(t)}</span>)}</div>
          <div role="columnheader" class="num">took</div>
        </div>
        {list.map((n) => <Bar key={n.call + n.start_ms} n={n} end={end} marks={marks} />)}
      </div>
      <p class="legend dim"><i class="critical" /> on the critical path <i class="own" /> own time <i class="failed" /> failed{a.guessed > 0 && ` · for ${plural(a.guessed, "call")} several parents are possible`}{a.omitted ? ` · ${plural(a.omitted, "call")} left out` : ""}</p>
      {a.spent.length > 0 && (
        <Section title="Where the time went" aside={ms(a.root.latency_ms)}>
          <table class="spent">
            <thead><tr><th>service</th><th>what</th><th class="num">time</th><th class="num">share</th><th><span class="sr">drawn</span></th></tr></thead>
            <tbody>{a.spent.slice(0, 12).map((s) => (
              <tr key={s.call + s.what}>
                <td>{s.service}</td><td class="mono"><Link to={place.value.view} about={{ ...place.value.about, id: s.call }}>{s.what}</Link></td><td class="mono num">{ms(s.ms)}</td><td class="mono num">{percent(s.share)}</td>
                <td class="wide"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect width={Math.max(0.5, 100 * s.share)} height={8} class="self" /></svg></td>
              </tr>
            ))}</tbody>
          </table>
        </Section>
      )}
    </>
  );
}

function Bar({ n, end, marks }: { n: TraceNode; end: number; marks: number[] }) {
  const left = (100 * n.start_ms) / end, width = Math.max((100 * n.latency_ms) / end, 0.4), own = Math.min(width, (100 * n.self_ms) / end);
  const what = n.route || n.path;
  const bad = n.failed;
  return (
    <div role="row" aria-level={n.depth + 1} class={(n.critical ? "critical " : "") + (bad ? "failed " : "") + (n.asked ? "asked" : "")}>
      <div role="gridcell" class="name" ref={(d) => { d?.style.setProperty("--depth", String(n.depth)); }}>
        <Link to="calls" about={{ ...place.value.about, id: n.call, tab: "overview" }} title={`${n.src} → ${n.service} ${n.method} ${what}`}>
          <b>{n.service}</b> <span class="mono">{n.method} {what}</span>{(n.attempt ?? 0) > 1 && <span class="dim"> attempt {n.attempt}</span>}
        </Link>
      </div>
      <div role="gridcell" class="lane" aria-label={`from ${ms(n.start_ms)}, own time ${ms(n.self_ms)}`}>
        <svg viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">
          {marks.map((t) => <line key={t} x1={(100 * t) / end} x2={(100 * t) / end} y1={0} y2={20} class="tick" />)}
          <rect x={left} y={6} width={width} height={8} class="span" />
          <rect x={left} y={6} width={Math.max(own, 0.4)} height={8} class="own" />
        </svg>
      </div>
      <div role="gridcell" class="mono num">{ms(n.latency_ms)}</div>
    </div>
  );
}
