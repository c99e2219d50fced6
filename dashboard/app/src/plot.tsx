// A check's estimate, drawn: the samples along an axis, the interval, and the bound. All figures are the daemon's.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Finding, Plot } from "./api";
import { count, figure, signed } from "./text";

const top = 22, bars = 74, foot = 46; // px

/** along is where on an axis of some length a value lies. */
function along(p: Plot, v: number, width: number): number {
  const share = p.log ? Math.log(v / p.from) / Math.log(p.to / p.from) : (v - p.from) / (p.to - p.from);
  return width * Math.min(1, Math.max(0, share));
}

/** marks are round values along the axis. */
function marks(p: Plot): number[] {
  const list: number[] = [];
  if (p.log) {
    for (let power = 10 ** Math.floor(Math.log10(p.from)); power <= p.to; power *= 10) for (const m of [1, 3]) if (m * power >= p.from && m * power <= p.to) list.push(m * power);
    return list;
  }
  const rough = (p.to - p.from) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  for (let v = Math.ceil(p.from / step) * step; v <= p.to; v += step) list.push(v);
  return list;
}

/** said is the drawing in words. */
function said(p: Plot): string {
  let text = `${p.term} is ${figure(p.value, p.unit)}`;
  if (p.confidence) text += `, between ${p.low === undefined ? "no bound" : figure(p.low, p.unit)} and ${p.high === undefined ? "no bound" : figure(p.high, p.unit)}`;
  for (const b of p.bounds ?? []) text += `, wanted ${b.operator} ${figure(b.value, p.unit)}`;
  return text;
}

export function Distribution({ p }: { p: Plot }) {
  const box = useRef<HTMLElement>(null);
  const wide = useSignal(560);
  useLayoutEffect(() => {
    const sized = new ResizeObserver(() => { wide.value = Math.max(180, Math.min(760, box.current!.clientWidth - 16)); });
    sized.observe(box.current!);
    return () => sized.disconnect();
  }, []);
  const width = wide.value;
  const place = (v: number) => along(p, v, width);
  const bins = p.bins ?? [];
  const most = Math.max(...bins, 1);
  const base = top + (bins.length > 0 ? bars : 20);
  const height = base + foot;
  const low = p.low === undefined ? 0 : place(p.low), high = p.high === undefined ? width : place(p.high), at = place(p.value);
  const broken = (v: number) => p.bounds?.some((b) => (b.operator.startsWith("<") && v >= b.value) || (b.operator.startsWith(">") && v <= b.value));
  const anchor = (x: number) => (x < 60 ? "start" : x > width - 60 ? "end" : "middle");
  return (
    <figure class="plot" ref={box}>
      <figcaption><code>{p.term}</code> <b class="mono">{figure(p.value, p.unit)}</b>{p.confidence && <span class="dim mono"> {p.low === undefined ? "…" : figure(p.low, p.unit)} – {p.high === undefined ? "…" : figure(p.high, p.unit)}</span>}{p.bounds?.map((b) => <span key={b.operator + b.value} class="mono bound"> {b.operator} {figure(b.value, p.unit)}</span>)}</figcaption>
      <svg viewBox={`-8 0 ${width + 16} ${height}`} width={width + 16} height={height} role="img" aria-label={said(p)}>
        {bins.map((n, i) => {
          if (n === 0) return null;
          const x = (width * i) / bins.length, w = width / bins.length, h = Math.max(2, (bars * n) / most);
          const middle = p.log ? p.from * (p.to / p.from) ** ((i + 0.5) / bins.length) : p.from + ((p.to - p.from) * (i + 0.5)) / bins.length;
          return <rect key={i} x={x + 0.5} y={base - h} width={w - 1} height={h} class={broken(middle) ? "bin over" : "bin"}><title>{`${count(n)} around ${figure(middle, p.unit)}`}</title></rect>;
        })}
        <line x1={0} x2={width} y1={base + 0.5} y2={base + 0.5} class="base" />
        {marks(p).map((v) => <g key={v}><line x1={place(v)} x2={place(v)} y1={base} y2={base + 4} class="base" /><text x={place(v)} y={height - 5} text-anchor={anchor(place(v))} class="mark">{figure(v, p.unit)}</text></g>)}
        {p.confidence && <><rect x={low} y={base + 9} width={Math.max(2, high - low)} height={6} rx={1.5} class="interval" />{[low, high].map((x, i) => <line key={i} x1={x} x2={x} y1={base + 6} y2={base + 18} class={(i === 0 ? p.low : p.high) === undefined ? "open" : "end"} />)}</>}
        <path d={`M${at} ${base + 5} l5 7 -5 7 -5 -7z`} class="value" />
        {p.bounds?.map((b) => {
          const x = place(b.value);
          return <g key={b.operator + b.value} class="limit"><line x1={x} x2={x} y1={top - 6} y2={base + 20} /><text x={x} y={11} text-anchor={anchor(x)}>{b.operator} {figure(b.value, p.unit)}</text></g>;
        })}
      </svg>
    </figure>
  );
}

/** Effects draws how much each finding changed, with its interval, around no change. */
export function Effects({ findings }: { findings: Finding[] }) {
  const drawn = findings.filter((f) => f.effect !== undefined);
  const most = Math.max(0.2, ...drawn.flatMap((f) => [Math.abs(f.effect ?? 0), Math.abs(f.low ?? 0), Math.abs(f.high ?? 0)]).map((v) => Math.min(v, 5)));
  const x = (v: number) => 50 + (48 * Math.max(-most, Math.min(most, v))) / most;
  return (
    <ul class="findings">
      {findings.map((f) => (
        <li key={f.kind + f.where + f.what} class={f.improvement ? "better" : f.verdict === "fail" ? "worse" : ""}>
          <div class="where"><span class="kind">{f.kind}</span> <span class="mono">{f.where}</span></div>
          <p>{f.what}</p>
          {f.effect !== undefined && (
            <div class="effect">
              <svg viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label={`${signed(f.effect)}${f.low !== undefined && f.high !== undefined ? `, between ${signed(f.low)} and ${signed(f.high)}` : ""}`}>
                <line x1={50} x2={50} y1={0} y2={14} class="zero" />
                {f.low !== undefined && f.high !== undefined && <line x1={x(f.low)} x2={x(f.high)} y1={7} y2={7} class="range" />}
                <rect x={x(f.effect) - 0.7} y={3} width={1.4} height={8} class="at" />
              </svg>
              <span class="mono num">{signed(f.effect)}{f.low !== undefined && f.high !== undefined && <span class="dim"> {signed(f.low)} to {signed(f.high)}</span>}</span>
            </div>
          )}
          {f.effect === undefined && f.old !== undefined && f.new !== undefined && <p class="mono dim">{f.old} → {f.new}</p>}
          <p class="dim small">{f.p !== undefined && f.p > 0 ? `p ${f.p < 0.001 ? f.p.toExponential(1) : f.p.toFixed(3)}, ` : ""}n {count(f.old_n)} and {count(f.new_n)}{f.basis ? ` (${f.basis})` : ""}</p>
        </li>
      ))}
    </ul>
  );
}

