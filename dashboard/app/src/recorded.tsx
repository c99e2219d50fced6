// What is recorded: snapshots, who is captured, and what was lost.
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Capture, Kept, Snapshot, Snapshots } from "./api";
import { Loss } from "./iterations";
import { Empty, Facts, Link, Problem, Section, useAnswer } from "./parts";
import { ask, explain, status, tell } from "./state";
import { bytes, count, digits, moment, ms } from "./text";
import type { Failure, Name } from "./transport";

export function SnapshotsView() {
  const { answer, failure, again } = useAnswer<Snapshots>("list_snapshots", () => ({ limit: 200 }), 4000);
  const wrong = useSignal<Failure | undefined>(undefined);
  const doomed = useSignal<Snapshot | undefined>(undefined);
  const dialog = useRef<HTMLDialogElement>(null);
  const length = useSignal("1m");
  const act = async (name: Name, request: object, done: string) => {
    try {
      await ask(name, request);
      wrong.value = undefined;
      tell(done);
    } catch (e) {
      wrong.value = explain(e);
    }
    again();
  };
  const a = answer.value;
  return (
    <div class="scroller page">
      <Section title="Snapshots" aside={a && `${bytes(a.total_size_bytes)} of ${bytes(a.max_size_bytes)}, kept ${a.max_age}`}>
        <form class="form" onSubmit={(e) => { e.preventDefault(); void act("create_snapshot", { duration: length.value }, "the snapshot is being made"); }}>
          <label>the last <select value={length.value} onChange={(e) => { length.value = e.currentTarget.value; }}>{["10s", "1m", "5m", "30m"].map((l) => <option key={l}>{l}</option>)}</select></label> <button type="submit">Make a snapshot</button>
        </form>
        {failure.value && <Problem f={failure.value} />}{wrong.value && <Problem f={wrong.value} />}
        {a && a.snapshots.length === 0 && <Empty>None yet. Each iteration seals one.</Empty>}
        {a && a.snapshots.length > 0 && (
          <div class="scroll" tabIndex={0} role="region" aria-label="snapshots"><table>
            <thead><tr><th>name</th><th>made</th><th>window</th><th class="num">packets</th><th class="num">size</th><th>source</th><th>iteration</th><th><span class="sr">open, delete</span></th></tr></thead>
            <tbody>{a.snapshots.map((s) => (
              <tr key={s.id} class={s.status === "failed" ? "failed" : ""}>
                <td class="mono">{s.id}</td><td class="mono dim">{moment(s.created_at)}</td><td class="mono">{s.duration}</td><td class="mono num">{count(s.packet_count)}</td><td class="mono num">{bytes(s.size_bytes)}</td><td>{s.source}{(s.nodes ?? []).length > 1 ? ` on ${s.nodes!.length} nodes` : ""}</td>
                <td class="mono">{s.iteration && <Link to="iterations" about={{ iteration: s.iteration }}>{s.iteration}</Link>} <span class="dim">{s.revision}</span></td>
                <td class="acts">
                  {s.status === "in_progress" ? <progress value={s.progress} max={100} aria-label={`making ${s.id}`} /> : s.error ? <span class="bad">{s.error}</span> : (s.dissections ?? []).length > 0
                    ? <><Link to="calls" about={{ db: s.id, kfl: "", id: "" }}>calls</Link> <Link to="map" about={{ db: s.id }}>map</Link></>
                    : <button type="button" class="link" onClick={() => void act("start_snapshot_dissection", { snapshot_id: s.id }, "it is being dissected")}>dissect</button>}
                  {!s.iteration && <button type="button" class="link bad" onClick={() => { doomed.value = s; dialog.current?.showModal(); }}>delete</button>}
                </td>
              </tr>
            ))}</tbody>
          </table></div>
        )}
      </Section>
      <dialog ref={dialog} class="menu" aria-label="delete a snapshot" onClose={() => { doomed.value = undefined; }}>
        <h2>Delete {doomed.value?.id}?</h2><p>Its packets are gone then.</p>
        <form method="dialog" class="form"><button autofocus>Keep it</button><button class="bad" onClick={() => { if (doomed.value) void act("delete_snapshot", { id: doomed.value.id }, "the snapshot is gone"); }}>Delete</button></form>
      </dialog>
    </div>
  );
}

export function CaptureView() {
  const { answer, failure } = useAnswer<Capture>("capture", () => ({}), 3000);
  const kept = useAnswer<Kept>("get_dissection_status", () => ({}), 3000);
  const a = answer.value, k = kept.answer.value, s = status.value;
  return (
    <div class="scroller page">
      {failure.value && <Problem f={failure.value} />}
      {a && (
        <Section title="Capture" aside={<span class={a.state === "capturing" ? "" : "warn"}>{a.state}</span>}>
          <Facts rows={[
            ["environment", a.environment + (s?.mode ? `, ${s.mode}` : "")], ["source", a.source], ["why", a.why], ["targets", a.targets && <code>{JSON.stringify(a.targets)}</code>],
            ["namespaces", a.targeted_namespaces?.join(", ")], ["pods", a.targeted_pods && `${count(a.targeted_pods.length)}: ${a.targeted_pods.join(", ")}`],
          ]} />
          {a.warnings?.map((w) => <p key={w} class="warn">{w}</p>)}
        </Section>
      )}
      {a?.nodes && a.nodes.length > 0 && (
        <Section title="Nodes"><div class="scroll" tabIndex={0} role="region" aria-label="nodes"><table>
          <thead><tr><th>node</th><th>source</th><th class="num">packets</th><th class="num">lost</th><th class="num">ring</th><th class="num">memory</th><th class="num">CPU</th></tr></thead>
          <tbody>{a.nodes.map((n) => <tr key={n.name} class={n.ok ? "" : "failed"}><td>{n.name} {n.problem && <span class="bad">{n.problem}</span>}</td><td>{n.source} {n.degraded && <span class="warn">{n.degraded}</span>}</td><td class="mono num">{count(n.packets)}</td>
            <td class={"mono num" + (n.dropped ? " warn" : "")}>{count(n.dropped)}</td><td class="mono num">{bytes(n.ring_bytes)} of {bytes(n.ring_limit_bytes)}</td><td class="mono num">{bytes(n.rss_bytes)}</td><td class="mono num">{digits(n.cpu_seconds)} s</td></tr>)}</tbody>
        </table></div></Section>
      )}
      {s && (
        <Section title="Services" aside={s.services.length}><div class="scroll" tabIndex={0} role="region" aria-label="services"><table>
          <thead><tr><th>name</th><th>state</th><th>build</th><th>address</th><th>captured</th></tr></thead>
          <tbody>{s.services.map((x) => <tr key={x.name} class={x.state === "crashed" ? "failed" : ""}><td>{x.name} <span class="dim">{x.outside ? "outside" : x.kind === "service" ? "" : x.kind}{x.stand_in ? ", stand-in" : ""}</span></td>
            <td class={x.state === "crashed" ? "bad" : ""}>{x.state}{x.detail ? `: ${x.detail}` : ""}</td><td class="mono dim">{x.build}</td><td class="mono">{x.ip ?? x.pods?.join(", ")} <span class="dim">{Object.values(x.ports ?? {}).join(" ")}</span></td>
            <td>{a?.services?.includes(x.name) || a?.targeted_pods?.some((p) => x.pods?.some((mine) => p.endsWith(mine))) ? "✓" : <span class="dim">no</span>}</td></tr>)}</tbody>
        </table></div></Section>
      )}
      {k && (
        <Section title="Live calls" aside={k.state}><Facts rows={[
          ["kept", <span class="mono">{count(k.calls)} calls, {count(k.connections)} connections</span>], ["memory", <span class="mono">{bytes(k.size_bytes)} of {bytes(k.max_bytes)}, {k.max_age}</span>],
          ["made room", k.forgotten > 0 && <span class="mono warn">{count(k.forgotten)} calls</span>], ["behind the capture", <span class="mono">{ms(k.delay_ms)}</span>], ["why", k.why],
        ]} /></Section>
      )}
      {s?.last?.account ? <Section title="Account of the last iteration" aside={s.last.id}><Loss a={s.last.account} /></Section> : <Section title="Loss"><Empty>No iteration has ended yet that would tell.</Empty></Section>}
    </div>
  );
}
