// Numbers, money, times and names for people. Pure.

const LOCALE = "en-US";
const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });

export function count(value) {
  return value === null || value === undefined ? "–" : whole.format(value);
}

/** 1,234 as it is; 12.3k, 4.56M beyond. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return `${trim(value / 1e9, 2)}B`;
  if (size >= 1e6) return `${trim(value / 1e6, 2)}M`;
  if (size >= 1e4) return `${trim(value / 1e3, 1)}k`;
  if (size >= 100 || size === 0) return whole.format(value);
  return trim(value, size >= 10 ? 1 : 2);
}

function trim(value, digits) {
  return digits ? value.toFixed(digits).replace(/\.?0+$/, "") : value.toFixed(0);
}

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 10_000) return `${trim(value / 1000, 1)} s`;
  if (value >= 1000) return `${trim(value / 1000, 2)} s`;
  return `${value >= 100 ? Math.round(value) : trim(value, 1)} ms`;
}

/** A share in [0, 1] as a percentage: more digits near the ends, where they matter. */
export function percent(share, digits) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  const value = share * 100;
  return `${digits === undefined ? trim(value, value > 99 && value < 100 ? 2 : 1) : value.toFixed(digits)}%`;
}

/** Base units (a decimal string, a bigint or a number) as tokens, with at least three digits that say something. */
export function amount(base, token) {
  if (base === null || base === undefined) return "–";
  const value = Number(base) / 10 ** token.decimals;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return short(value);
  if (size >= 1000) return new Intl.NumberFormat(LOCALE, { maximumFractionDigits: size >= 10_000 ? 0 : 1 }).format(value);
  if (size >= 1) return trim(value, 3);
  const digits = Math.min(token.decimals, 2 - Math.floor(Math.log10(size)));
  return trim(value, Math.max(2, digits));
}

/** Base units as tokens for a column of a table: always four digits after the point, so that points stand in line. */
export function column(base, token) {
  if (base === null || base === undefined) return "–";
  const value = Number(base) / 10 ** token.decimals;
  if (value === 0) return "0";
  if (value < 0.0001) return "<0.0001";
  return value.toLocaleString(LOCALE, { minimumFractionDigits: 4, maximumFractionDigits: 4 });
}

/** All digits of an amount in base units. */
export function exactAmount(base, token) {
  const text = BigInt(base).toString().padStart(token.decimals + 1, "0");
  const split = text.length - token.decimals;
  const fraction = text.slice(split).replace(/0+$/, "");
  return `${whole.format(BigInt(text.slice(0, split)))}${fraction && `.${fraction}`} ${token.symbol}`;
}

export function brief(hex, head = 6, tail = 4) {
  if (!hex) return "–";
  return hex.length <= head + tail + 3 ? hex : `${hex.slice(0, head)}…${hex.slice(-tail)}`;
}

export function seconds(value) {
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 129_600) return `${trim(value / 3600, 1)} h`;
  return `${trim(value / 86_400, 1)} days`;
}

export function date(unixS) {
  if (!unixS) return "–";
  return new Date(unixS * 1000).toLocaleString("en-GB", {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
}

export function clock(unixS, spanS) {
  const when = new Date(unixS * 1000);
  if (spanS > 2 * 86_400) {
    return when.toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  }
  const second = spanS <= 3600 ? "2-digit" : undefined;
  return when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second });
}

export function day(daysSince1970) {
  return new Date(daysSince1970 * 86_400_000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
