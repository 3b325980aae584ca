// One chart: a headline, uPlot, and a legend that reads the values under the pointer.

import { clock } from "./format.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const BRIDGED_MOST = 8; // steps without a value that a sparse line is drawn over
export const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];

function axes({ format, spanS, tick }, nothing) {
  const shared = {
    stroke: () => css("--text-3"),
    font: '11px "Inter", system-ui, sans-serif',
    ticks: { show: false },
    grid: { stroke: () => css("--line"), width: 1 },
  };
  const time = { ...shared, grid: { show: false }, size: 26, gap: 6, space: 90 };
  if (spanS <= 3600 || tick) time.space = 46;
  const shown = tick ?? ((t) => clock(t, Math.max(spanS, 3601)));
  time.values = (_, splits) => splits.map((t) => (tick && t % 1 ? "" : shown(t)));
  const value = { ...shared, size: 58, gap: 6, space: 34, values: (_, splits) => splits.map((v) => (v === null || nothing ? "" : format(v))) };
  return [time, value];
}

function options(props, width, onCursor) {
  const { lines, height = 168, low = 0, high } = props;
  const top = (_, __, most) => [low, high ?? (most > low ? low + (most - low) * 1.12 : low + 1)];
  return {
    width,
    height,
    padding: [8, 22, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "page" }, points: { size: 6 }, drag: { x: false, y: false }, y: false },
    scales: { x: { time: !props.tick }, y: { range: props.range ?? top } },
    axes: axes(props, isNothing(props)),
    series: [
      {},
      ...lines.map((line) => ({
        label: line.name,
        stroke: () => css(line.colour),
        width: 1.6,
        fill: line.fill ? () => `color-mix(in srgb, ${css(line.colour)} 12%, transparent)` : undefined,
        points: { show: few(line) || undefined, size: 5 },
      })),
    ],
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)] },
  };
}

function few(line) {
  return line.values.filter((v) => v !== null && v !== undefined).length < 3;
}

/** Bridge short pauses of a sparse line: to uPlot null ends a line, and undefined does not. Long ones stay open. */
function bridged(line) {
  if (!line.sparse) return line.values;
  const values = [...line.values];
  let from = -1;
  values.forEach((value, place) => {
    if (value === null || value === undefined) return;
    if (from >= 0 && place - from - 1 <= BRIDGED_MOST) values.fill(undefined, from + 1, place);
    from = place;
  });
  return values;
}

/** The newest value of a line: of a sparse one the last that is known, if that is not long ago. */
function newest(line, place) {
  const values = line.values;
  for (let back = 0; line.sparse && back <= BRIDGED_MOST && place >= back; back += 1) {
    if (values[place - back] !== null && values[place - back] !== undefined) return values[place - back];
  }
  return values[place];
}

/** Whether a chart has nothing to show: no values, or only zeros where these say that nothing happened. */
function isNothing({ lines, zeroIsNothing }) {
  return !lines.some((line) => line.values.some((value) => value !== null && value !== undefined && (!zeroIsNothing || value)));
}

function usePlot(props, frame, onCursor) {
  const plot = useRef(null);
  const data = [props.t, ...props.lines.map(bridged)];
  const shape = `${isNothing(props)}|${props.lines.map((line) => line.name + line.colour).join()}|${props.spanS}|${props.lines.map(few).join()}`;
  const latest = useRef(null);
  latest.current = { props, data };
  useLayoutEffect(() => {
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(latest.current.props, frame.current.clientWidth, onCursor), latest.current.data, frame.current);
      scale();
    };
    make();
    const sizes = new ResizeObserver(() => plot.current?.setSize({ width: frame.current.clientWidth, height: props.height ?? 168 }));
    sizes.observe(frame.current);
    addEventListener("theme", make);
    return () => {
      sizes.disconnect();
      removeEventListener("theme", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  const scale = () => {
    const { spanS, t } = latest.current.props;
    const max = t.length ? t[t.length - 1] : Date.now() / 1000;
    plot.current.setScale("x", { min: max - spanS, max });
  };
  useEffect(() => {
    if (!plot.current) return;
    plot.current.setData(data, false);
    scale();
  });
}

/**
 * t: Unix seconds, or whatever `tick` puts in words; lines: [{name, colour, values, fill, sparse}], sparse where a value is known only while there is traffic; format: number -> text; spanS: seconds shown.
 * The text under a chart says in words what the picture shows.
 */
export function Chart(props) {
  const { title, headline, unit, lines, t, format, spanS, empty, tick } = props;
  const frame = useRef(null);
  const [at, setAt] = useState(null);
  usePlot(props, frame, setAt);
  const place = at !== null && at < t.length ? at : t.length - 1;
  const value = (line) => format(at === null ? newest(line, place) : line.values[place]);
  const said = lines.map((line) => `${line.name} ${value(line)}`).join(", ");
  const nothing = isNothing(props);
  return html`<figure class="chart card">
    <figcaption>
      <h2>${title}</h2>
      ${headline !== undefined && html`<span class="headline">${headline}<span class="unit">${unit}</span></span>`}
    </figcaption>
    <div class="plot" ref=${frame} role="img" aria-label=${`${title}: ${nothing ? "no data yet" : said}`} data-points=${t.length}>
      ${nothing && html`<div class="nothing"><span>${empty ?? "Nothing in this span yet"}</span></div>`}
    </div>
    <div class="legend" aria-hidden="true">
      ${lines.map(
        (line) => html`<span class="key" key=${line.name}>
          <i style=${{ background: `var(${line.colour})` }}></i>${line.name} <b>${value(line)}</b>
        </span>`,
      )}
      ${t.length > 0 && at !== null && html`<span class="at">${tick ? tick(t[place]) : clock(t[place], spanS)}</span>`}
    </div>
  </figure>`;
}

/** A line without axes, for tables. */
export function Spark({ values, colour = "--c1", width = 88, height = 22, label }) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return html`<span class="faint">–</span>`;
  const most = Math.max(...known, 1e-9);
  const step = width / (values.length - 1);
  const points = values
    .map((value, place) => (value === null || value === undefined ? null : `${(place * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`))
    .filter(Boolean)
    .join(" ");
  return html`<svg width=${width} height=${height} role="img" aria-label=${label}>
    <polyline points=${points} fill="none" stroke=${`var(${colour})`} stroke-width="1.4" stroke-linejoin="round" />
  </svg>`;
}
