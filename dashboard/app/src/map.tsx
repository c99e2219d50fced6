// Who calls whom: drawn, and the same as a table.
import dagre from "@dagrejs/dagre";
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Edge, Node, ServiceMap } from "./api";
import { Empty, Facts, Link, Problem, Section, Split, useAnswer } from "./parts";
import { adjust, db, place, quoted, scopeOf } from "./state";
import { bytes, count, ms, percent } from "./text";

const keyOf = (e: { src: string; dst: string }) => e.src + " → " + e.dst;
const rate = (v: number) => (v >= 10 ? count(Math.round(v)) : v >= 0.1 ? v.toFixed(1) : "<0.1") + "/s";
const us = (v?: number) => (v === undefined ? "" : ms(v / 1000));

interface Drawing {
  width: number;
  height: number;
  nodes: { n: Node; x: number; y: number; w: number; h: number }[];
  edges: { e: Edge; path: string; x: number; y: number }[];
}

/** draw lays the map out. Lines between the same ends lie beside each other. */
function draw(m: ServiceMap, narrow: boolean): Drawing {
  const g = new dagre.graphlib.Graph({ multigraph: true });
  g.setGraph({ rankdir: narrow ? "TB" : "LR", nodesep: narrow ? 18 : 22, ranksep: narrow ? 46 : 116, marginx: 8, marginy: 8, edgesep: 14 });
  g.setDefaultEdgeLabel(() => ({}));
  for (const n of m.nodes) g.setNode(n.name, { width: Math.max(92, n.name.length * 7.6 + 26), height: 38 });
  for (const e of m.edges) g.setEdge(e.src, e.dst, { width: narrow ? 10 : 96, height: 14, labelpos: "c" }, keyOf(e));
  dagre.layout(g);
  const size = g.graph() as { width?: number; height?: number };
  return {
    width: size.width ?? 100, height: size.height ?? 100,
    nodes: m.nodes.map((n) => {
      const at = g.node(n.name) as { x: number; y: number; width: number; height: number };
      return { n, x: at.x, y: at.y, w: at.width, h: at.height };
    }),
    edges: m.edges.map((e) => {
      const at = g.edge(e.src, e.dst, keyOf(e)) as { points: { x: number; y: number }[]; x?: number; y?: number };
      return { e, path: smooth(at.points), x: at.x ?? 0, y: at.y ?? 0 };
    }),
  };
}

/** smooth is a curve through the middles between points. */
function smooth(p: { x: number; y: number }[]): string {
  const [a, ...rest] = p;
  if (!a) return "";
  let d = `M${a.x.toFixed(1)} ${a.y.toFixed(1)}`;
  rest.forEach((q, i) => {
    const next = rest[i + 1];
    d += next ? ` Q${q.x.toFixed(1)} ${q.y.toFixed(1)} ${((q.x + next.x) / 2).toFixed(1)} ${((q.y + next.y) / 2).toFixed(1)}` : ` L${q.x.toFixed(1)} ${q.y.toFixed(1)}`;
  });
  return d;
}

export function ServiceMapView() {
  const live = db.value === "live";
  const { answer, failure, busy } = useAnswer<ServiceMap>("get_service_map", () => ({ ...scopeOf(db.value), kfl: place.value.about.kfl ?? "" }), live ? 3000 : 0);
  const chosen = place.value.about.edge ?? "";
  const choose = (k: string) => adjust({ edge: k });
  const a = answer.value;
  const order = useSignal<keyof Edge>("total_calls");
  const edge = a?.edges.find((e) => keyOf(e) === chosen);
  const main = (
    <div class="scroller mapview">
      {failure.value && <Problem f={failure.value} />}
      {a && a.edges.length > 0 && <Picture m={a} chosen={chosen} choose={choose} />}
      {a && a.edges.length === 0 && !busy.value && <Empty>Nobody has called anybody. {a.why}</Empty>}
      {a && a.edges.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="edges">
          <table class="edges">
            <caption class="sr">who calls whom</caption>
            <thead><tr>
              <th>from</th><th>to</th><th>protocols</th>
              {([["total_calls", "calls"], ["calls_per_second", "rate"], ["error_rate", "failed"], ["p50_ms", "p50"], ["p99_ms", "p99"], ["tcp_handshake_p50_us", "handshake p50"], ["tcp_handshake_p99_us", "p99"], ["connections", "conns"], ["bytes", "bytes"]] as [keyof Edge, string][]).map(([k, title]) => (
                <th key={k} class="num" aria-sort={order.value === k ? "descending" : undefined}><button type="button" class="sort" onClick={() => { order.value = k; }}>{title}{order.value === k ? " ↓" : ""}</button></th>
              ))}
            </tr></thead>
            <tbody>{[...a.edges].sort((x, y) => Number(y[order.value] ?? 0) - Number(x[order.value] ?? 0)).map((e) => (
              <tr key={keyOf(e)} class={(e.errors > 0 ? "failed " : "") + (keyOf(e) === chosen ? "chosen" : "")}>
                <td><button type="button" class="link" onClick={() => choose(keyOf(e))}>{e.src}<span class="sr"> to {e.dst}</span></button></td><td>{e.dst}</td><td class="dim">{e.protocols.join(", ")}</td>
                <td class="mono num">{count(e.total_calls)}</td><td class="mono num">{rate(e.calls_per_second)}</td><td class="mono num share">{e.errors > 0 ? percent(e.error_rate) : "0"}</td>
                <td class="mono num">{ms(e.p50_ms)}</td><td class="mono num">{ms(e.p99_ms)}</td><td class="mono num">{us(e.tcp_handshake_p50_us)}</td><td class="mono num">{us(e.tcp_handshake_p99_us)}</td>
                <td class="mono num">{count(e.connections)}</td><td class="mono num">{bytes(e.bytes)}</td>
              </tr>
            ))}</tbody>
          </table>
        </div>
      )}
    </div>
  );
  return <Split name="edge" main={main} close={() => choose("")} side={edge && <EdgeDetail e={edge} close={() => choose("")} />} />;
}

function Picture({ m, chosen, choose }: { m: ServiceMap; chosen: string; choose: (k: string) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const narrow = useSignal(false);
  const near = useSignal("");
  useEffect(() => {
    const sized = new ResizeObserver(() => { narrow.value = box.current!.clientWidth < 620; });
    sized.observe(box.current!);
    return () => sized.disconnect();
  }, []);
  const shape = m.nodes.map((n) => n.name).join() + m.edges.map(keyOf).join() + narrow.value;
  const laid = useMemo(() => draw(m, narrow.value), [shape]); // it moves only when somebody new comes
  const edges = new Map(m.edges.map((e) => [keyOf(e), e]));
  const nodes = new Map(m.nodes.map((n) => [n.name, n]));
  const most = Math.max(...m.edges.map((e) => e.total_calls), 1);
  const aside = (e: Edge) => nodes.get(e.dst)?.kind === "devloop"; // look-ups, in front of which everything else stands
  const hit = (e: Edge) => near.value === "" || e.src === near.value || e.dst === near.value;
  return (
    <div class="picture" ref={box} tabIndex={0} role="region" aria-label="drawn">
      <svg viewBox={`0 0 ${laid.width} ${laid.height}`} ref={(s) => { s?.style.setProperty("max-width", laid.width * 1.25 + "px"); s?.style.setProperty("min-width", laid.width * 0.7 + "px"); }} role="group" aria-label={`service map: ${m.nodes.length} services, ${m.edges.length} edges; the table below says the same`}>
        <defs>
          {["quiet", "bad", "hot"].map((c) => <marker key={c} id={"tip-" + c} class={c} viewBox="0 0 8 8" refX={7} refY={4} markerWidth={7} markerHeight={7} orient="auto-start-reverse" markerUnits="userSpaceOnUse"><path d="M0 0.8 7.5 4 0 7.2z" /></marker>)}
        </defs>
        {laid.edges.map(({ e: old, path }) => {
          const e = edges.get(keyOf(old)) ?? old;
          const k = keyOf(e), bad = e.errors > 0, on = k === chosen;
          const label = `${e.src} to ${e.dst}: ${rate(e.calls_per_second)}, ${percent(e.error_rate)} failed, p99 ${ms(e.p99_ms)}${e.tcp_handshake_p50_us ? `, handshake ${us(e.tcp_handshake_p50_us)}` : ""}`;
          return (
            <g key={k} role="button" tabindex={0} aria-label={label} aria-pressed={on} class={"edge" + (bad ? " bad" : "") + (on ? " chosen" : "") + (hit(e) ? "" : " far") + (aside(e) ? " aside" : "")}
              onClick={() => choose(on ? "" : k)} onKeyDown={(ev) => { if (ev.key === "Enter" || ev.key === " ") { ev.preventDefault(); choose(on ? "" : k); } }}>
              <title>{label}</title>
              <path d={path} class="touch" />
              <path d={path} class="line" stroke-width={1 + 2.2 * Math.sqrt(e.total_calls / most)} marker-end={`url(#tip-${on ? "hot" : bad ? "bad" : "quiet"})`} />
            </g>
          );
        })}
        {!narrow.value && laid.edges.map(({ e: old, x, y }) => {
          const e = edges.get(keyOf(old)) ?? old;
          if (aside(e) && e.src !== near.value) return null;
          return (
            <g key={keyOf(e)} class={"label" + (hit(e) ? "" : " far")} aria-hidden="true">
              <rect x={x - 46} y={y - 12} width={92} height={25} rx={4} />
              <text x={x} y={y - 2}>{rate(e.calls_per_second)}{e.errors > 0 && <tspan class="bad"> {percent(e.error_rate)}</tspan>}</text>
              <text x={x} y={y + 10} class="dim">{ms(e.p99_ms)}{e.tcp_handshake_p50_us ? ` ⇄ ${us(e.tcp_handshake_p50_us)}` : ""}</text>
            </g>
          );
        })}
        {laid.nodes.map(({ n: old, x, y, w, h }) => {
          const n = nodes.get(old.name) ?? old;
          const failing = m.edges.some((e) => e.dst === n.name && e.errors > 0);
          return (
            <g key={n.name} transform={`translate(${x - w / 2} ${y - h / 2})`} class={"node " + n.kind + (failing ? " bad" : "")} onPointerEnter={() => { near.value = n.name; }} onPointerLeave={() => { near.value = ""; }}>
              <title>{`${n.name}, ${n.kind}: ${count(n.calls_in)} calls in, ${count(n.calls_out)} out`}</title>
              <rect width={w} height={h} rx={5} />
              <text x={w / 2} y={16} class="name">{n.name}</text>
              <text x={w / 2} y={29} class="under">{n.protocols.length > 0 ? n.protocols.join(" ") : n.kind}</text>
            </g>
          );
        })}
      </svg>
      <p class="legend dim">calls a second, share that failed · p99, ⇄ TCP handshake p50 · lines are as wide as they are busy · dashed boxes lie outside of the system</p>
    </div>
  );
}

function EdgeDetail({ e, close }: { e: Edge; close: () => void }) {
  const both = `src.name == ${quoted(e.src)} && dst.name == ${quoted(e.dst)}`;
  return (
    <div class="detail">
      <header class={e.errors > 0 ? "failed" : ""}>
        <div class="title"><h2>{e.src} → {e.dst}</h2><button type="button" class="close" aria-label="close the edge" onClick={close}>×</button></div>
        <p><Link to="calls" about={{ kfl: both }}>Show its calls</Link>{e.example && e.errors > 0 && <> · <Link to="calls" about={{ kfl: both, id: e.example }}>one that failed</Link></>}</p>
      </header>
      <div class="panel" tabIndex={0} role="region" aria-label="figures of the edge">
        <Section title="Calls"><Facts rows={[
          ["calls", <span class="mono">{count(e.total_calls)}, {rate(e.calls_per_second)}</span>], ["failed", <span class={"mono" + (e.errors ? " bad" : "")}>{count(e.errors)}, {percent(e.error_rate)}</span>],
          ["p50", <span class="mono">{ms(e.p50_ms)}</span>], ["p90", <span class="mono">{ms(e.p90_ms)}</span>], ["p99", <span class="mono">{ms(e.p99_ms)}</span>], ["max", <span class="mono">{ms(e.max_ms)}</span>],
          ["protocols", e.protocols.join(", ")],
        ]} /></Section>
        <Section title="Connections"><Facts rows={[
          ["connections", <span class="mono">{count(e.connections)}</span>], ["bytes", <span class="mono">{bytes(e.bytes)}</span>],
          ["TCP handshake", e.tcp_handshake_p50_us !== undefined && <span class="mono">p50 {us(e.tcp_handshake_p50_us)} · p90 {us(e.tcp_handshake_p90_us)} · p99 {us(e.tcp_handshake_p99_us)}</span>],
        ]} /></Section>
        {e.statuses && <Section title="Results"><Facts rows={Object.entries(e.statuses).sort((a, b) => b[1] - a[1]).map(([k, v]) => [k, <span class="mono">{count(v)}</span>])} /></Section>}
        {e.endpoints && <Section title="Endpoints"><ul class="plain mono">{e.endpoints.map((x) => <li key={x}>{x}</li>)}</ul></Section>}
      </div>
    </div>
  );
}
