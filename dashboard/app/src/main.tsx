// The page: a line on top with where one is and where the loop stands, and one view below it.
import { useSignal } from "@preact/signals";
import { render, type ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Calls } from "./calls";
import { Compare } from "./compare";
import { Iterations, Verdicts } from "./iterations";
import { ServiceMapView } from "./map";
import { Empty, Mark, Problem } from "./parts";
import { CaptureView, SnapshotsView } from "./recorded";
import { adjust, connected, db, explain, go, iterations, place, said, start, status } from "./state";
import { Waterfall } from "./trace";
import { connect } from "./transport";

const views: { id: string; title: string; of: string[] }[] = [
  { id: "calls", title: "Calls", of: ["calls", "call"] },
  { id: "map", title: "Map", of: ["map"] },
  { id: "trace", title: "Trace", of: ["trace"] },
  { id: "iterations", title: "Iterations", of: ["iterations", "iteration", "check"] },
  { id: "compare", title: "Compare", of: ["compare", "baseline"] },
  { id: "snapshots", title: "Snapshots", of: ["snapshots"] },
  { id: "capture", title: "Capture", of: ["capture"] },
];

const scoped = new Set(["calls", "call", "map", "trace"]); // views about some traffic

function View() {
  switch (place.value.view) {
    case "map": return <ServiceMapView />;
    case "trace": return <div class="scroller page"><h2>The slowest request</h2><Waterfall key={db.value + place.value.about.id} id={place.value.about.id} kfl={place.value.about.kfl} /></div>;
    case "iterations": case "iteration": case "check": return <Iterations />;
    case "compare": case "baseline": return <Compare />;
    case "snapshots": return <SnapshotsView />;
    case "capture": return <CaptureView />;
    default: return <Calls />;
  }
}

/** Traffic chooses what is looked at. */
function Traffic() {
  const known = iterations.value.filter((i) => i.snapshot);
  const other = db.value !== "live" && !known.some((i) => i.snapshot === db.value || i.id === db.value);
  return (
    <label class="traffic"><span class="sr">traffic of</span>
      <select value={db.value} onChange={(e) => adjust({ db: e.currentTarget.value, id: "", edge: "" })}>
        <option value="live">live</option>
        {other && <option value={db.value}>{db.value}</option>}
        {known.slice(0, 50).map((i) => <option key={i.id} value={i.snapshot}>{`${i.id} · ${i.revision} · ${i.verdict ?? i.state}`}</option>)}
      </select>
    </label>
  );
}

function Loop() {
  const s = status.value;
  const last = iterations.value.find((i) => i.verdict || i.state === "failed");
  const running = s?.current;
  return (
    <div class="loop">
      {!connected.value && <span class="bad" role="status">daemon gone</span>}
      {running ? <button type="button" class="link phase-now" onClick={() => go("iterations", { iteration: running.id })}>{running.id} {running.phase}…</button> : s && !s.running ? <span class="dim">nothing runs</span> : null}
      {last && (
        <button type="button" class={"chip " + (last.verdict ?? "error")} onClick={() => go("iterations", { iteration: last.id })} title="the newest verdict">
          <Mark v={last.verdict ?? "error"} words /> <span class="mono">{last.id}</span>{last.verdict !== "pass" && <Verdicts of={{ ...last.verdicts, pass: 0 }} />}
        </button>
      )}
    </div>
  );
}

const keys: [string, string][] = [
  ["1 – 7", "calls, map, trace, iterations, compare, snapshots, capture"], ["/", "to the filter"], ["↑ ↓ PgUp PgDn Home End", "move in the list"], ["Enter", "open"], ["f", "filter by the chosen call"],
  ["Space", "hold live calls, let them go on"], ["← →", "between tabs; at the bar between panes, its place"], ["Esc", "close"], ["?", "this"],
];

function Page() {
  const help = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const onKeyDown = (e: KeyboardEvent) => {
      const t = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || t.matches("input, select, textarea") || document.querySelector("dialog[open]")) return;
      const view = views[Number(e.key) - 1];
      if (view) go(view.id);
      else if (e.key === "/") {
        e.preventDefault();
        const filter = document.getElementById("kfl");
        if (filter) return filter.focus(); // at once: what is typed next is for it
        go("calls");
        requestAnimationFrame(() => document.getElementById("kfl")?.focus());
      } else if (e.key === "?") help.current?.showModal();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>to the content</a>
      <header class="top">
        <span class="brand"><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M12.7 5.2A5.5 5.5 0 1 0 13.5 8" /><path d="m4.9 8.2 2.2 2.2 6.4-7" /></svg>devloop</span>
        <nav aria-label="views">
          {views.map((v) => {
            const here = v.of.includes(place.value.view);
            return <button key={v.id} type="button" aria-current={here ? "page" : undefined} onClick={() => go(v.id)}>{v.title}</button>;
          })}
        </nav>
        {scoped.has(place.value.view) && <Traffic />}
        <Loop />
        <button type="button" class="help" aria-label="keys" title="keys (?)" onClick={() => help.current?.showModal()}>?</button>
      </header>
      <main id="main" tabIndex={-1} aria-label={views.find((v) => v.of.includes(place.value.view))?.title}><h1 class="sr">{views.find((v) => v.of.includes(place.value.view))?.title}</h1><View /></main>
      <div class="sr" role="status" aria-live="polite">{said.value}</div>
      <dialog ref={help} class="menu" aria-label="keys"><h2>Keys</h2><dl class="facts">{keys.map(([k, v]) => <div key={k}><dt><kbd>{k}</kbd></dt><dd>{v}</dd></div>)}</dl><form method="dialog"><button autofocus>Close</button></form></dialog>
    </>
  );
}

function Shell({ children }: { children: ComponentChildren }) {
  return <main class="shell" id="main"><h1>devloop</h1>{children}</main>;
}

function App() {
  const state = useSignal<"joining" | "joined" | Error>("joining");
  useEffect(() => {
    const join = async () => {
      try {
        await start(await connect());
        state.value = "joined";
      } catch (e) {
        state.value = e as Error;
      }
    };
    void join();
  }, []);
  if (state.value === "joined") return <Page />;
  if (state.value === "joining") return <Shell><Empty>…</Empty></Shell>;
  return <Shell><Problem f={explain(state.value)} /><button type="button" onClick={() => location.reload()}>Try again</button></Shell>;
}

document.documentElement.lang ||= "en";
render(<App />, document.getElementById("app")!);
