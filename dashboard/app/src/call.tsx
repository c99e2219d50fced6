// One call: what was asked and answered, when, over which connection and in which packets.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { Call, Connection, Entry } from "./api";
import { Facts, Link, Panel, Problem, Section, Tabs, useAnswer } from "./parts";
import { adjust, ask, db, explain, narrowed, nameOf, place, quoted, save, scopeOf } from "./state";
import { bytes, clock, count, digits, moment, ms, percent, pretty } from "./text";
import { Waterfall } from "./trace";
import type { Failure } from "./transport";

const tabs = [
  { id: "overview", title: "Overview" },
  { id: "request", title: "Request" },
  { id: "response", title: "Response" },
  { id: "tree", title: "Call tree" },
  { id: "connection", title: "Connection" },
  { id: "packets", title: "Packets" },
];

export function CallDetail({ id, close }: { id: string; close: () => void }) {
  const { answer, failure } = useAnswer<Call>("get_api_call_details", () => ({ ...scopeOf(db.value), id }));
  const a = answer.value;
  const tab = place.value.about.tab || "overview";
  const e = a?.entry;
  return (
    <div class="detail">
      <header class={a?.failed ? "failed" : ""}>
        <div class="title">
          <h2 class="mono">{e ? <><b>{e.method}</b> {e.path}</> : id}</h2>
          <button type="button" class="close" aria-label="close the call" title="Esc" onClick={close}>×</button>
        </div>
        {e && <p>{nameOf(e.src)} → {nameOf(e.dst)} · {e.grpc ? "grpc" : e.proto} · <span class="mono outcome">{e.status && String(e.status) !== a?.result ? `${e.status} · ${a?.result}` : a?.result}</span> · <span class="mono">{ms(e.latency_ms)}</span></p>}
      </header>
      <Tabs label="parts of the call" tabs={tabs} chosen={tab} choose={(t) => adjust({ tab: t })} />
      <Panel id={tab}>
        {failure.value && <Problem f={failure.value} />}
        {a && e && (tab === "request" ? <Message e={e} headers={e.req_headers} body={a.req_body} size={e.req_size} side="request" cut={a.truncated} />
          : tab === "response" ? <Message e={e} headers={e.resp_headers} body={a.resp_body} size={e.resp_size} side="response" cut={a.truncated} />
          : tab === "tree" ? <Waterfall id={id} />
          : tab === "connection" ? <Over c={a.connection} />
          : tab === "packets" ? <PacketsOf a={a} />
          : <Overview e={e} c={a.connection} />)}
      </Panel>
    </div>
  );
}

/** Times draws how long the parts of a call took. */
function Times({ e }: { e: Entry }) {
  const whole = e.latency_ms;
  if (!whole) return null;
  const wait = Math.min(e.ttfb_ms ?? 0, whole);
  return (
    <table class="times">
      <caption class="sr">where the time went</caption>
      <thead class="sr"><tr><th>what</th><th>when</th><th>how long</th></tr></thead>
      <tbody>
        <Time name="whole call" left={0} width={100} v={ms(whole)} kind="whole" />
        {e.ttfb_ms !== undefined && <Time name="server, to first byte" left={0} width={(100 * wait) / whole} v={ms(e.ttfb_ms)} kind="wait" />}
        {e.self_ms !== undefined && e.self_ms > 0 && <Time name="own time, without calls it made" left={0} width={Math.min(100, (100 * e.self_ms) / whole)} v={ms(e.self_ms)} kind="self" />}
      </tbody>
    </table>
  );
}

const Time = ({ name, left, width, v, kind }: { name: string; left: number; width: number; v: string; kind: string }) => (
  <tr>
    <th scope="row">{name}</th>
    <td><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect x={left} y={0} width={Math.max(width, 0.5)} height={8} class={kind} /></svg></td>
    <td class="mono num">{v}</td>
  </tr>
);

/** Filter narrows the list of calls by what stands beside it. */
export function Filter({ clause }: { clause: string }) {
  return (
    <button type="button" class="pick" aria-label={"filter: " + clause} title={clause} onClick={() => adjust({ kfl: narrowed(place.peek().about.kfl ?? "", clause) })}>
      <svg viewBox="0 0 12 12" aria-hidden="true"><path d="M1 2h10L7.2 6.5V10L4.8 11V6.5z" /></svg>
    </button>
  );
}

function Overview({ e, c }: { e: Entry; c: Connection | undefined }) {
  return (
    <>
      <Times e={e} />
      <Section title="Call">
        <Facts rows={[
          ["began", <span class="mono">{moment(e.ts).slice(0, 10)} {clock(e.ts)}</span>],
          ["from", <Peer e={e.src} name={nameOf(e.src)} build={e.src_build} process={e.src_process} clause={`src.name == ${quoted(nameOf(e.src))}`} />],
          ["to", <Peer e={e.dst} name={nameOf(e.dst)} build={e.dst_build} process={e.dst_process} clause={`dst.name == ${quoted(nameOf(e.dst))}`} />],
          ["host", e.host && <span class="mono">{e.host}<Filter clause={`host == ${quoted(e.host)}`} /></span>],
          ["route", e.route && <span class="mono">{e.route}<Filter clause={`route == ${quoted(e.route)}`} /></span>],
          ["query", e.query && <span class="mono">{e.query}</span>],
          ["error", e.error && <span class="bad">{e.error}<Filter clause={`error == ${quoted(e.error)}`} /></span>],
          ["attempt", e.retry && `${e.retry.attempt} of ${e.retry.attempts}`],
          ["revision", e.revision && <span class="mono">{e.revision}</span>],
          ["trace", e.trace_id && <span class="mono">{e.trace_id}<Filter clause={`trace_id == ${quoted(e.trace_id)}`} /></span>],
          ["caused by", e.parent && <><Link to="calls" about={{ ...place.value.about, id: e.parent }} class="mono">{e.parent}</Link> <span class="dim">by {e.parent_by}{(e.parent_candidates ?? 1) > 1 ? `, one of ${e.parent_candidates}` : ""}</span></>],
          ["read", e.capture_source && "inside of TLS, with logged secrets"],
          ["seen from", e.capture_point],
          ["id", <span class="mono">{e.id}</span>],
        ]} />
      </Section>
      {e.credentials && e.credentials.length > 0 && (
        <Section title="Secrets" aside="never the value">
          <ul class="plain">{e.credentials.map((s) => <li key={s.place + s.hash}><b>{s.kind}</b> in <span class="mono">{s.place}</span> <span class="dim mono">{s.hash}</span></li>)}</ul>
        </Section>
      )}
      {(["grpc", "postgresql", "redis", "dns", "tls", "ws", "gql"] as const).map((p) => e[p] && <Section key={p} title={p}><Fields of={e[p]!} /></Section>)}
      {c && <p class="dim">Connection {c.conn_id}: {count(c.calls)} calls, {c.state}{c.handshake_client_ns ? `, handshake ${ms(c.handshake_client_ns / 1e6)}` : ""}.</p>}
    </>
  );
}

const Peer = ({ e, name, build, process, clause }: { e: Entry["src"]; name: string; build?: string; process?: string; clause: string }) => (
  <>{name} <span class="mono dim">{e.ip}:{e.port}</span>{process && <span class="dim"> {process}</span>}{build && <span class="mono dim"> build {build}</span>}<Filter clause={clause} /></>
);

/** Fields shows what a protocol tells, whatever that is. */
function Fields({ of }: { of: Record<string, unknown> }) {
  const rows = Object.entries(of).filter(([, v]) => v !== "" && v !== null && v !== undefined && !(Array.isArray(v) && v.length === 0));
  return <Facts rows={rows.map(([k, v]): [string, ComponentChildren] => [k.replaceAll("_", " "), <span class="mono">{typeof v === "object" ? JSON.stringify(v) : String(v)}</span>])} />;
}

function Message({ e, headers, body, size, side, cut }: { e: Entry; headers: Record<string, string>; body: string | undefined; size: number; side: "request" | "response"; cut: boolean }) {
  const raw = useSignal(false);
  const names = Object.keys(headers);
  const text = body ? (raw.value ? body : pretty(body)) : "";
  return (
    <>
      {names.length > 0 && (
        <Section title="Headers" aside={names.length}>
          <table class="headers">
            <thead class="sr"><tr><th>name</th><th>value</th></tr></thead>
            <tbody>{names.map((n) => <tr key={n}><th scope="row">{n}</th><td class="mono">{headers[n]}<Filter clause={`${side}.headers[${quoted(n.toLowerCase())}] == ${quoted(headers[n]!)}`} /></td></tr>)}</tbody>
          </table>
        </Section>
      )}
      <Section title="Body" aside={bytes(size)}>
        {text ? (
          <>
            {body !== undefined && pretty(body) !== body && <label class="switch"><input type="checkbox" checked={raw.value} onChange={(ev) => { raw.value = ev.currentTarget.checked; }} /> as it was sent</label>}
            <pre class="body" tabIndex={0} aria-label={side + " body"}>{text}</pre>
            {cut && <p class="warn">It was cut.</p>}
          </>
        ) : <p class="dim">{e.state === "open" || e.state === "unanswered" ? "There is no answer." : "None."}</p>}
      </Section>
    </>
  );
}

const microseconds = new Set(["initial_rtt_us", "handshake_time_us", "connection_time_us", "time_to_first_byte_us", "rtt_min_us", "rtt_max_us", "rtt_avg_us", "jitter_us"]);
const troubles = new Set(["retransmissions", "fast_retransmissions", "zero_window_events", "window_full_events", "out_of_order", "dup_acks", "missing_segments", "rst_count"]);

function metric(name: string, v: number): string {
  if (microseconds.has(name)) return ms(v / 1000);
  if (name.endsWith("_rate")) return percent(v);
  if (name === "avg_receive_window" || name === "goodput_bytes") return bytes(v);
  return Number.isInteger(v) ? count(v) : digits(v);
}

function Over({ c }: { c: Connection | undefined }) {
  if (!c) return <p class="dim">Its connection is not known.</p>;
  return (
    <>
      <Section title="Connection">
        <Facts rows={[
          ["id", <span class="mono">{c.conn_id}<Filter clause={`conn_id == ${c.conn_id}`} /></span>],
          ["state", c.state + (c.reset_by ? `, reset by the ${c.reset_by}` : "")],
          ["calls", `${count(c.calls)}, ${count(c.window_calls)} of them in this window`],
          ["handshake", c.handshake_client_ns && <span class="mono">{ms(c.handshake_client_ns / 1e6)} <span class="dim">SYN to SYN-ACK, by the client's clock</span></span>],
          ["handshake, server", c.handshake_server_ns && <span class="mono">{ms(c.handshake_server_ns / 1e6)} <span class="dim">SYN-ACK to ACK</span></span>],
          ["SYN retransmits", c.syn_retransmits > 0 && <span class="bad">{c.syn_retransmits}</span>],
          ["client sent", <span class="mono">{count(c.client_packets)} packets, {bytes(c.client_bytes)}</span>],
          ["server sent", <span class="mono">{count(c.server_packets)} packets, {bytes(c.server_bytes)}</span>],
          ["capture lacks", c.missing_bytes + c.lost_packets + c.undecoded_bytes > 0 && <span class="warn">{bytes(c.missing_bytes)} missing, {bytes(c.undecoded_bytes)} not read, {count(c.lost_packets)} packets lost</span>],
        ]} />
      </Section>
      {c.tcp_metrics && (
        <Section title="TCP">
          <dl class="metrics">{Object.entries(c.tcp_metrics).map(([k, v]) => (
            <div key={k} class={troubles.has(k) && v > 0 ? "trouble" : v === 0 ? "zero" : ""}><dt>{k.replace(/_us$/, "").replaceAll("_", " ")}</dt><dd class="mono">{metric(k, v)}</dd></div>
          ))}</dl>
        </Section>
      )}
      {c.views && c.views.length > 0 && (
        <Section title="Seen from">
          <div class="scroll" tabIndex={0} role="region" aria-label="capture points"><table>
            <thead><tr><th>point</th><th>client</th><th>server</th><th>packets</th><th>handshake</th></tr></thead>
            <tbody>{c.views.map((v) => <tr key={v.point + v.interface}><td>{v.point}{v.node ? ` on ${v.node}` : ""}</td><td class="mono">{v.src}</td><td class="mono">{v.dst}</td><td class="mono num">{count(v.packets)}</td><td class="mono num">{v.handshake_ns ? ms(v.handshake_ns / 1e6) : ""}</td></tr>)}</tbody>
          </table></div>
        </Section>
      )}
    </>
  );
}

function PacketsOf({ a }: { a: Call }) {
  const failure = useSignal<Failure | undefined>(undefined);
  const busy = useSignal(false);
  const e = a.entry;
  const range = (p: { first: number; last: number }) => (p.first ? (p.first === p.last ? `${p.first}` : `${p.first} to ${p.last}`) : "none");
  const get = async () => {
    busy.value = true;
    try {
      const with_ = await ask<Call>("get_api_call_details", { ...scopeOf(db.value), id: e.id, include_pcap: true, include_payload: false });
      if (with_.pcap) save(e.id.replaceAll("/", "-") + ".pcapng", with_.pcap);
      failure.value = undefined;
    } catch (err) {
      failure.value = explain(err);
    }
    busy.value = false;
  };
  const shown = [e.req_packets, e.resp_packets].filter((p) => p.first).map((p) => `frame.number >= ${p.first} && frame.number <= ${p.last}`).join(" || ");
  return (
    <>
      <Section title="Packets" aside={a.db}>
        <Facts rows={[
          ["request", <span class="mono">{range(e.req_packets)}</span>],
          ["response", <span class="mono">{range(e.resp_packets)}</span>],
          ["connection", a.connection && <span class="mono">{range(a.connection.packets)}</span>],
          ["in Wireshark", shown && <code>{shown}</code>],
        ]} />
        <p class="dim">Numbers are those of the snapshot's packets, as Wireshark counts them.</p>
      </Section>
      <button type="button" disabled={busy.value} onClick={() => void get()}>Save the connection's packets</button> <span class="dim">secrets masked</span>
      {failure.value && <Problem f={failure.value} />}
    </>
  );
}
