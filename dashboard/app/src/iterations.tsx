// The iterations: their verdicts, where their time went, what changed on the wire, and each check with its proof.
import type { Account, Check, Iteration, IterationInfo, Phase, Verdict } from "./api";
import { Empty, Facts, File, Link, Mark, Problem, Section, Split, useAnswer } from "./parts";
import { Distribution, Effects } from "./plot";
import { adjust, iterations, place, status } from "./state";
import { bytes, clock, count, moment, ms, plural } from "./text";

/** steps of the loop, in the order of their shades. */
const steps = ["config", "start", "build", "deploy", "open", "exercise", "quiet", "verify", "seal", "dissect", "judge", "diff"];

/** Ledger draws where an iteration's time went. */
function Ledger({ ledger }: { ledger: Phase[] }) {
  const whole = ledger.reduce((sum, p) => sum + p.ns, 0) || 1;
  let x = 0;
  return (
    <svg class="ledger" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={ledger.filter((p) => p.ns > whole / 100).map((p) => `${p.phase} ${ms(p.ns / 1e6)}`).join(", ")}>
      {ledger.map((p) => {
        const from = x, w = (100 * p.ns) / whole;
        x += w;
        return w < 0.15 ? null : <rect key={p.phase} x={from} y={0} width={Math.max(0.3, w - 0.25)} height={8} class={"phase " + p.phase}><title>{`${p.phase} ${ms(p.ns / 1e6)}${p.detail ? `: ${p.detail}` : ""}`}</title></rect>;
      })}
    </svg>
  );
}

const order: Verdict[] = ["fail", "error", "inconclusive", "nodata", "skipped", "pass"];

export const Verdicts = ({ of }: { of: Partial<Record<Verdict, number>> }) => (
  <span class="verdicts">{order.map((v) => of[v] ? <span key={v} class={"mark " + v}>{<Mark v={v} />} {of[v]}</span> : null)}</span>
);

const took = (i: { started_ns: number; ended_ns?: number }) => (i.ended_ns ? ms((i.ended_ns - i.started_ns) / 1e6) : "…");

export function Iterations() {
  const id = place.value.about.iteration || place.value.about.id;
  const list = iterations.value;
  const choose = (i: IterationInfo) => adjust({ iteration: i.id, id: "", name: "", group: "" });
  const close = () => adjust({ iteration: "", id: "", name: "", group: "" });
  const main = (
    <div class="scroller">
      {list.length === 0 ? <Empty>No iteration yet. <code>devloop up</code> makes one with every save, <code>devloop run</code> makes one now.</Empty> : (
        <table class="iterations">
          <caption class="sr">iterations, newest first</caption>
          <thead><tr><th>iteration</th><th>verdict</th><th>why</th><th class="num">calls</th><th class="num">took</th><th>ledger</th><th>began</th></tr></thead>
          <tbody>{list.map((i) => (
            <tr key={i.id} class={(i.id === id ? "chosen " : "") + (i.state === "running" ? "running" : "")} onClick={() => choose(i)}>
              <td class="mono"><button type="button" class="link" aria-current={i.id === id ? "true" : undefined} onClick={(e) => { e.stopPropagation(); choose(i); }}>{i.id}</button> <span class="dim">{i.revision}</span></td>
              <td>{i.verdict ? <><Mark v={i.verdict} words /> <span class="dim"><Verdicts of={i.verdict === "pass" ? {} : i.verdicts} /></span></> : <span class={i.state === "failed" ? "bad" : "dim"}>{i.state === "running" ? i.phase + " …" : i.state === "done" ? "no checks" : `${i.state} in ${i.phase}`}</span>}</td>
              <td class="why">{i.failure ? <span class="bad">{i.failure}</span> : (i.files ?? []).length > 0 ? <span class="mono">{i.files!.join(", ")}</span> : <span class="dim">{i.trigger}</span>}{i.failing && <span class="dim"> · {i.failing.join(", ")}</span>}</td>
              <td class="mono num">{count(i.calls)}</td><td class="mono num">{took(i)}</td><td class="wide"><Ledger ledger={i.ledger} /></td><td class="mono dim">{moment(i.started_ns / 1e6)}</td>
            </tr>
          ))}</tbody>
        </table>
      )}
      <p class="legend dim phases">{steps.filter((s) => ["build", "deploy", "exercise", "dissect", "judge"].includes(s)).map((s) => <span key={s}><i class={"phase " + s} /> {s}</span>)}</p>
    </div>
  );
  return <Split name="iteration" main={main} close={close} side={id ? <Detail key={id} id={id} close={close} /> : undefined} />;
}

function Detail({ id, close }: { id: string; close: () => void }) {
  const current = status.value?.current;
  const running = current?.id === id ? current : undefined;
  const { answer, failure } = useAnswer<Iteration>("verdict", () => (status.value?.current?.id === id ? undefined : { iteration: id }));
  const it = running ?? answer.value;
  const name = place.value.about.name;
  const check = it?.checks?.find((c) => c.name === name && (c.group ?? "") === (place.value.about.group ?? ""));
  if (it && check) return <CheckDetail it={it} c={check} close={close} />;
  return (
    <div class="detail">
      <header class={it?.verdict === "fail" ? "failed" : ""}>
        <div class="title"><h2><span class="mono">{id}</span> {it && <Mark v={it.verdict} words />}</h2><button type="button" class="close" aria-label="close the iteration" onClick={close}>×</button></div>
        {it && <p>{it.revision} · {it.trigger} · {plural(it.calls, "call")} by {it.source} · {took(it)} · {clock(it.started_ns / 1e6)}{it.snapshot && <> · <Link to="calls" about={{ db: it.snapshot, id: "", kfl: "" }}>its calls</Link> · <Link to="map" about={{ db: it.snapshot }}>its map</Link></>}</p>}
      </header>
      <div class="panel" tabIndex={0} role="region" aria-label="iteration">
        {failure.value && <Problem f={failure.value} />}
        {it && <Body it={it} />}
      </div>
    </div>
  );
}

function Body({ it }: { it: Iteration }) {
  const checks = it.checks ?? [];
  const open = checks.filter((c) => c.verdict !== "pass" && c.verdict !== "skipped").sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict));
  const well = checks.filter((c) => c.verdict === "pass" || c.verdict === "skipped");
  const whole = it.ledger.reduce((sum, p) => sum + p.ns, 0) || 1;
  const d = it.wire_diff;
  return (
    <>
      {it.failure && (
        <div class="problem" role="alert"><p><b>{it.failure.phase}{it.failure.service ? ` of ${it.failure.service}` : ""}</b>: {it.failure.what}</p>{it.failure.output && <pre class="body">{it.failure.output}</pre>}{it.failure.hint && <p class="dim">{it.failure.hint}</p>}</div>
      )}
      {it.changed && it.changed.length > 0 && <p class="dim">restarted {it.changed.join(", ")}</p>}
      {open.length > 0 && <Section title="Broken or open" aside={open.length}><Checks it={it} list={open} /></Section>}
      {d && (
        <Section title="Wire diff" aside={<>{plural(d.total, "difference")} from <span class="mono">{d.since}</span> ({d.revision}){d.unchanged ? ` · ${plural(d.unchanged, "endpoint")} as before` : ""}</>}>
          {d.findings && d.findings.length > 0 ? <Effects findings={d.findings} /> : <p class="dim">The services speak as they did.</p>}
          {d.note && <p class="warn">{d.note}</p>}
        </Section>
      )}
      {well.length > 0 && <Section title="Kept" aside={well.length}><Checks it={it} list={well} /></Section>}
      <Section title="Ledger" aside={ms(whole / 1e6)}>
        <Ledger ledger={it.ledger} />
        <table class="phases">
          <thead class="sr"><tr><th>phase</th><th>drawn</th><th>time</th><th>detail</th></tr></thead>
          <tbody>{it.ledger.map((p) => (
            <tr key={p.phase}><th scope="row"><i class={"phase " + p.phase} /> {p.phase}</th>
              <td class="wide"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect width={Math.max(0.3, (100 * p.ns) / whole)} height={8} class={"phase " + p.phase} /></svg></td>
              <td class="mono num">{ms(p.ns / 1e6)}</td><td class="dim">{p.detail}</td></tr>
          ))}</tbody>
        </table>
      </Section>
      {it.exercise && (
        <Section title="Exercise" aside={it.exercise.name}>
          <table><thead><tr><th>step</th><th class="num">sent</th><th class="num">no answer</th><th>status</th><th class="num">took</th></tr></thead>
            <tbody>{it.exercise.steps.map((s, i) => <tr key={i} class={s.errors || s.exit_code ? "failed" : ""}><td class="mono">{s.step}</td><td class="mono num">{count(s.sent ?? 0)}</td><td class="mono num">{count(s.errors ?? 0)}</td><td class="mono">{Object.entries(s.status ?? {}).map(([k, v]) => `${k}×${v}`).join(" ")}</td><td class="mono num">{ms(s.ns / 1e6)}</td></tr>)}</tbody></table>
        </Section>
      )}
      {it.account && <Section title="Capture" aside={it.account.source}><Loss a={it.account} /></Section>}
      {it.warnings && it.warnings.length > 0 && <Section title="Warnings"><ul class="plain">{it.warnings.map((w) => <li key={w}>{w}</li>)}</ul></Section>}
    </>
  );
}

/** Loss is the account of what was captured, and of what was not. */
export function Loss({ a }: { a: Account }) {
  const some = (n: number, text: string) => <span class={"mono" + (n > 0 ? " warn" : "")}>{text}</span>;
  const list = (m?: Record<string, number>) => m && Object.entries(m).map(([k, v]) => `${k} ${count(v)}`).join(", ");
  return (
    <Facts rows={[
      ["packets", <span class="mono">{count(a.packets)}, {bytes(a.bytes)}</span>], ["in connections", <span class="mono">{count(a.decoded)}</span>],
      ["lost by the source", some(a.dropped, count(a.dropped))], ["missing in streams", some(a.missing_bytes, bytes(a.missing_bytes))], ["not read", some(a.undecoded_bytes, bytes(a.undecoded_bytes))],
      ["given up", list(a.given_up)], ["malformed", list(a.malformed)], ["other kinds", list(a.ignored)],
      ["seen from one end", a.one_point && count(a.one_point)], ["joined behind translation", a.joined && count(a.joined)], ["interfaces", a.interfaces && count(a.interfaces.length)],
    ]} />
  );
}

function Checks({ it, list }: { it: Iteration; list: Check[] }) {
  return (
    <ul class="checks">
      {list.map((c) => (
        <li key={c.name + (c.group ?? "")} class={c.verdict}>
          <Mark v={c.verdict} />
          <div>
            <Link to="iterations" about={{ iteration: it.id, id: "", name: c.name, group: c.group ?? "" }}>{c.name}{c.group ? ` [${c.group}]` : ""}</Link>
            {c.severity !== "error" && <span class="dim"> {c.severity}</span>}
            {c.verdict !== "pass" && <p>{c.reason}</p>}
          </div>
          <span class="mono dim num">n={count(c.n)}</span>
        </li>
      ))}
    </ul>
  );
}

function CheckDetail({ it, c, close }: { it: Iteration; c: Check; close: () => void }) {
  const plots = c.plots ?? [];
  const others = (c.terms ?? []).filter((t) => !plots.some((p) => p.term === t.text));
  return (
    <div class="detail">
      <header class={c.verdict === "fail" ? "failed" : ""}>
        <div class="title"><h2><Mark v={c.verdict} /> {c.name}{c.group ? ` [${c.group}]` : ""}</h2><button type="button" class="close" aria-label="close the check" onClick={close}>×</button></div>
        <p><Link to="iterations" about={{ iteration: it.id, id: "", name: "", group: "" }}>{it.id}</Link> · {c.builtin ? "built in" : c.file && <File file={c.file} line={c.line} />} · {plural(c.n, (c.unit ?? "calls").replace(/s$/, ""))}{c.basis && ` · ${c.basis}`}{c.severity !== "error" && ` · ${c.severity}`}</p>
      </header>
      <div class="panel" tabIndex={0} role="region" aria-label="check">
        <p class={"reason " + c.verdict}>{c.reason}</p>
        {c.need_more ? <p class="warn">{plural(c.need_more, "more sample")} would decide it.</p> : null}
        {c.loss && <p class="warn">capture was incomplete: {c.loss}</p>}
        {plots.length > 0 && <Section title="Estimates">{plots.map((p) => <Distribution key={p.term} p={p} />)}</Section>}
        {others.length > 0 && <Section title="Terms"><table><thead><tr><th>term</th><th class="num">value</th><th class="num">over</th></tr></thead><tbody>{others.map((t) => <tr key={t.text}><td><code>{t.text}</code></td><td class="mono num">{t.value}{t.low && t.high && <span class="dim"> {t.low} – {t.high}</span>}</td><td class="mono num">{count(t.n)}</td></tr>)}</tbody></table></Section>}
        {c.vacuous && <p class="dim">{c.vacuous.join("; ")}</p>}
        <Section title="Promise"><Facts rows={[
          ["on", <code>{c.on || "all calls"}</code>],
          ["expect", <code>{c.expect || "built in"}</code>],
          ["calls", c.on && it.snapshot && <Link to="calls" about={{ db: it.snapshot, kfl: c.on, id: "", name: "", iteration: "" }}>those that it is about</Link>],
        ]} /></Section>
        {c.evidence && c.evidence.length > 0 && (
          <Section title={c.verdict === "pass" ? "Examples" : "Evidence"} aside={(c.evidence_total ?? 0) > c.evidence.length ? `${c.evidence.length} of ${count(c.evidence_total!)}, gravest first` : c.evidence.length}>
            <ol class="evidence">{c.evidence.map((e) => (
              <li key={e.call ?? e.conn_id}>
                {e.call && it.snapshot ? <Link to="calls" about={{ db: it.snapshot, id: e.call, kfl: c.on, name: "", iteration: "", tab: "overview" }}>{e.summary}</Link> : e.summary}
                <span class="dim mono"> {e.packets.first > 0 && `packets ${e.packets.first}–${e.packets.last}`}</span>
                {e.call && it.snapshot && <Link to="calls" about={{ db: it.snapshot, id: e.call, kfl: "", name: "", iteration: "", tab: "tree" }} class="small">call tree</Link>}
              </li>
            ))}</ol>
          </Section>
        )}
      </div>
    </div>
  );
}
