// How figures and times are written. Nothing here changes what they say.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** count writes a whole number with thin spaces between thousands. */
export const count = (n: number) => grouped.format(n).replaceAll(",", "\u2009");

/** ms writes milliseconds with three digits, in the unit that suits. */
export function ms(v: number): string {
  if (v === 0) return "0";
  if (v < 1) return digits(v * 1000) + " µs";
  if (v < 1000) return digits(v) + " ms";
  return digits(v / 1000) + " s";
}

/** digits writes a number with three digits or all of its whole ones. */
export function digits(v: number): string {
  const a = Math.abs(v);
  if (a >= 100 || a === 0) return Math.round(v).toString();
  return v.toFixed(a >= 10 ? 1 : 2);
}

/** figure writes a number of a plot: times in nanoseconds, others as they are. */
export function figure(v: number, unit?: string): string {
  if (unit === "ns") return v < 0 ? "-" + ms(-v / 1e6) : ms(v / 1e6);
  return Number.isInteger(v) ? count(v) : Number(v.toPrecision(3)).toString();
}

export const percent = (share: number) => (share === 0 ? "0 %" : share < 0.0001 ? "<0.01 %" : digits(share * 100) + " %");

export const signed = (share: number) => (share > 0 ? "+" : "") + digits(share * 100) + " %";

export function bytes(n: number): string {
  if (n < 1000) return n + " B";
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]] as const) if (n >= size) return digits(n / size) + " " + unit;
  return n + " B";
}

const pad = (n: number, width = 2) => n.toString().padStart(width, "0");

/** clock writes a time of day with milliseconds. */
export function clock(ts: number): string {
  const d = new Date(ts);
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}.${pad(d.getMilliseconds(), 3)}`;
}

/** moment writes a date and a time of day. */
export function moment(ts: number): string {
  const d = new Date(ts);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

/** pretty writes JSON in lines where a text is JSON. */
export function pretty(body: string): string {
  const first = body.trimStart()[0];
  if (first !== "{" && first !== "[") return body;
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body; // cut, or several documents
  }
}

export const plural = (n: number, noun: string) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
