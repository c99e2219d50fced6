// A list of any length: only the rows that can be seen are there.
import { useSignal, type ReadonlySignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface Column<T> {
  name: string;
  title: string;
  class?: string;
  cell: (row: T) => ComponentChildren;
}

const height = 24; // px of a row, as in app.css
const beyond = 12; // rows above and below what is seen

/** Grid shows rows under a line of headings. The keys move the chosen row, which the grid names to screen readers by its id. */
export function Grid<T extends { id: string }>({ label, columns, rows, total, grown, chosen, choose, enter, onKey, rowClass, empty }: {
  label: string;
  columns: Column<T>[];
  rows: ReadonlySignal<T[]>;
  total: number;
  grown: () => number;
  chosen: string;
  choose: (row: T) => void;
  enter: (row: T) => void;
  onKey: (e: KeyboardEvent, row: T | undefined) => void;
  rowClass: (row: T) => string;
  empty: ComponentChildren;
}) {
  const box = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const seen = useSignal(600);
  const frame = useRef(0);
  const list = rows.value;
  const at = useRef(-1);
  if (list[at.current]?.id !== chosen) at.current = chosen === "" ? -1 : list.findIndex((r) => r.id === chosen);

  useLayoutEffect(() => {
    const b = box.current!;
    const sized = new ResizeObserver(() => { seen.value = b.clientHeight; });
    sized.observe(b);
    return () => sized.disconnect();
  }, []);
  // Rows that come in front push the others down: who reads further below keeps their place.
  useLayoutEffect(() => {
    const b = box.current!;
    if (b.scrollTop > height && grown() > 0) b.scrollTop += grown() * height;
  }, [list]);

  const onScroll = () => {
    frame.current ||= requestAnimationFrame(() => {
      frame.current = 0;
      top.value = box.current?.scrollTop ?? 0;
    });
  };
  const move = (to: number) => {
    const i = Math.max(0, Math.min(list.length - 1, to));
    const row = list[i];
    if (!row) return;
    at.current = i;
    const b = box.current!;
    const y = i * height, foot = y + 2 * height - b.clientHeight; // the headings stay on top
    if (y < b.scrollTop) b.scrollTop = y;
    else if (foot > b.scrollTop) b.scrollTop = foot;
    choose(row);
  };
  const page = Math.max(1, Math.floor(seen.value / height) - 2);
  const onKeyDown = (e: JSX.TargetedKeyboardEvent<HTMLDivElement>) => {
    const steps: Record<string, number> = { ArrowDown: at.current + 1, ArrowUp: at.current - 1, PageDown: at.current + page, PageUp: at.current - page, Home: 0, End: list.length - 1 };
    const to = steps[e.key];
    const row = list[at.current];
    if (to !== undefined && !e.metaKey && !e.altKey) {
      e.preventDefault();
      move(to);
    } else if (e.key === "Enter" && row && e.target === e.currentTarget) enter(row);
    else onKey(e, row);
  };

  const first = Math.max(0, Math.floor(top.value / height) - beyond);
  const last = Math.min(list.length, Math.ceil((top.value + seen.value) / height) + beyond);
  const shown = list.slice(first, last);
  return (
    <div class="grid" role="grid" aria-label={label} aria-rowcount={Math.max(total, list.length) + 1} aria-colcount={columns.length} tabIndex={0} ref={box}
      aria-activedescendant={at.current >= first && at.current < last ? "row-" + at.current : undefined} onScroll={onScroll} onKeyDown={onKeyDown}>
      <div role="rowgroup" class="head">
        <div role="row" aria-rowindex={1} class="row">{columns.map((c) => <div key={c.name} role="columnheader" class={"cell " + c.name + " " + (c.class ?? "")}>{c.title}</div>)}</div>
      </div>
      <div role="rowgroup" class="body" ref={(b) => { b?.style.setProperty("height", list.length * height + "px"); }}>
        {shown.map((row, i) => (
          <div key={first + i} id={"row-" + (first + i)} role="row" aria-rowindex={first + i + 2} aria-selected={row.id === chosen}
            class={"row " + rowClass(row) + (row.id === chosen ? " chosen" : "")} ref={(d) => { d?.style.setProperty("transform", `translateY(${(first + i) * height}px)`); }}
            onClick={() => { move(first + i); enter(row); }}>
            {columns.map((c) => <div key={c.name} role="gridcell" class={"cell " + c.name + " " + (c.class ?? "")}>{c.cell(row)}</div>)}
          </div>
        ))}
      </div>
      {list.length === 0 && <div role="row" class="none"><div role="gridcell">{empty}</div></div>}
    </div>
  );
}
