// Parts that several views are made of.
import { useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { sign, type Verdict } from "./api";
import { ask, explain, go, opener } from "./state";
import type { Failure, Name } from "./transport";

let asked = 0; // questions whose first answer is awaited

/** waits tells whoever waits, such as a test, that something is still to come. */
function waits(more: number) {
  asked += more;
  document.body.toggleAttribute("data-busy", asked > 0);
}

/** useAnswer asks whenever the question changes, and drops answers to older ones. every asks again and again, while the page can be seen. */
export function useAnswer<T>(name: Name, question: () => object | undefined, every = 0) {
  const answer = useSignal<T | undefined>(undefined);
  const failure = useSignal<Failure | undefined>(undefined);
  const busy = useSignal(true);
  const again = useSignal(0);
  useSignalEffect(() => {
    const request = question();
    again.value;
    if (!request) {
      busy.value = false;
      return;
    }
    const stop = new AbortController();
    let timer = 0;
    let waiting = true;
    waits(1);
    const came = () => {
      if (waiting) waits(-1);
      waiting = false;
    };
    const once = async () => {
      if (!document.hidden) {
        try {
          const a = await ask<T>(name, request, stop.signal);
          if (stop.signal.aborted) return;
          answer.value = a;
          failure.value = undefined;
        } catch (e) {
          if (stop.signal.aborted) return;
          failure.value = explain(e);
        }
        busy.value = false;
        came();
      }
      if (every > 0 && !stop.signal.aborted) timer = window.setTimeout(once, every);
    };
    busy.value = true;
    void once();
    return () => {
      came();
      stop.abort();
      clearTimeout(timer);
    };
  });
  return { answer, failure, busy, again: () => again.value++ };
}

export const Mark = ({ v, words }: { v?: Verdict; words?: boolean }) =>
  v ? <span class={"mark " + v} title={v}><span aria-hidden={words ? "true" : undefined} role={words ? undefined : "img"} aria-label={words ? undefined : v}>{sign[v]}</span>{words && " " + v}</span> : null;

export function Problem({ f }: { f: Failure }) {
  return (
    <div class="problem" role="alert">
      <pre>{f.message}</pre>
      {f.hint && <p class="dim">{f.hint}</p>}
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Facts is a list of names and values. */
export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  const there = rows.filter(([, v]) => v !== undefined && v !== "" && v !== null && v !== false);
  return <dl class="facts">{there.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>;
}

export function Section({ title, aside, children }: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  const id = useId();
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}{aside !== undefined && <span class="aside">{aside}</span>}</h2>
      {children}
    </section>
  );
}

/** Tabs are panels of which one is seen; arrows move between them. */
export function Tabs({ label, tabs, chosen, choose }: { label: string; tabs: { id: string; title: string }[]; chosen: string; choose: (id: string) => void }) {
  const bar = useRef<HTMLDivElement>(null);
  const onKeyDown = (e: KeyboardEvent) => {
    const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    e.preventDefault();
    const at = (tabs.findIndex((t) => t.id === chosen) + step + tabs.length) % tabs.length;
    choose(tabs[at]!.id);
    (bar.current?.children[at] as HTMLElement | undefined)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} ref={bar} onKeyDown={onKeyDown}>
      {tabs.map((t) => (
        <button key={t.id} type="button" role="tab" id={"tab-" + t.id} aria-controls={"panel-" + t.id} aria-selected={t.id === chosen} tabIndex={t.id === chosen ? 0 : -1}
          onClick={() => choose(t.id)}>{t.title}</button>
      ))}
    </div>
  );
}

export function Panel({ id, children }: { id: string; children: ComponentChildren }) {
  return <div class="panel" role="tabpanel" id={"panel-" + id} aria-labelledby={"tab-" + id} tabIndex={0}>{children}</div>;
}

/** Link leads to another place of the page. */
export function Link({ to, about, class: c, children, title }: { to: string; about?: Record<string, string>; class?: string; title?: string; children: ComponentChildren }) {
  const onClick = (e: JSX.TargetedMouseEvent<HTMLButtonElement>) => {
    e.stopPropagation();
    go(to, about);
  };
  return <button type="button" class={"link " + (c ?? "")} onClick={onClick} title={title}>{children}</button>;
}

/** File is a place in a file; an editor opens it. */
export function File({ file, line }: { file: string; line?: number }) {
  const open = opener();
  const text = line ? `${file}:${line}` : file;
  return open ? <button type="button" class="link mono" onClick={() => open(file, line ?? 1)}>{text}</button> : <span class="mono">{text}</span>;
}

/** Split are two panes; the bar between them is dragged or moved with arrows. */
export function Split({ name, main, side, close }: { name: string; main: ComponentChildren; side?: ComponentChildren; close: () => void }) {
  const share = useSignal(48);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.style.setProperty("--side", share.value + "%"));
  const move = (e: PointerEvent) => {
    const r = box.current!.getBoundingClientRect();
    share.value = Math.round(Math.min(80, Math.max(20, 100 * (1 - (e.clientX - r.left) / r.width))));
  };
  const drag = (e: JSX.TargetedPointerEvent<HTMLDivElement>) => {
    const bar = e.currentTarget;
    bar.setPointerCapture(e.pointerId);
    bar.onpointermove = move;
    bar.onpointerup = () => { bar.onpointermove = null; };
  };
  const keys = (e: KeyboardEvent) => {
    const step = e.key === "ArrowLeft" ? 2 : e.key === "ArrowRight" ? -2 : 0;
    if (step === 0) return;
    e.preventDefault();
    share.value = Math.min(80, Math.max(20, share.value + step));
  };
  const onKeyDown = (e: KeyboardEvent) => {
    if (e.key === "Escape" && side) {
      e.stopPropagation();
      close();
    }
  };
  return (
    <div class={"split" + (side ? " open" : "")} ref={box} onKeyDown={onKeyDown}>
      <div class="main">{main}</div>
      {side && <div class="bar" role="separator" aria-orientation="vertical" aria-label={"width of " + name} aria-valuenow={share.value} aria-valuemin={20} aria-valuemax={80} tabIndex={0}
        onPointerDown={drag} onKeyDown={keys} />}
      {side && <aside class="side" aria-label={name}>{side}</aside>}
    </div>
  );
}
