/** Charts, by uPlot, in the colours of the page. */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { axisDollars, showDollars } from './money';

export interface Line {
  label: string;
  /** Names a colour of style.css. */
  colour: 'spent' | 'reserved' | 'limit' | 'faint';
  values: (number | null)[];
  isDashed?: boolean;
  isBar?: boolean;
}

interface ChartProps {
  /** What it shows, for those who do not see it. */
  label: string;
  /** Seconds since the epoch. */
  times: number[];
  lines: Line[];
}

const height = 220;

export function Chart({ label, times, lines }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    let chart: uPlot | undefined;
    const draw = (): void => {
      chart?.destroy();
      chart = new uPlot(optionsFor(element, lines), [times, ...lines.map(({ values }) => values)], element);
    };
    draw();
    const resized = new ResizeObserver(() => chart?.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', draw);
    window.addEventListener('themechange', draw);
    return () => {
      resized.disconnect();
      scheme.removeEventListener('change', draw);
      window.removeEventListener('themechange', draw);
      chart?.destroy();
    };
  }, [JSON.stringify([times, lines])]);
  return <div class="chart" role="img" aria-label={label} ref={place} />;
}

function optionsFor(element: HTMLElement, lines: Line[]): uPlot.Options {
  const colour = (name: string): string => colourOf(element, name);
  const axis = { stroke: colour('faint'), grid: { stroke: colour('rule'), width: 1 }, ticks: { show: false } };
  const dollars = (value: number | null): string => (value === null ? '–' : showDollars(value));
  return {
    width: element.clientWidth,
    height,
    // Days are of UTC, as quotas are.
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), 'Etc/UTC'),
    cursor: { drag: { x: false, y: false } },
    scales: {
      // A bar has half of its width on either side of its time.
      ...(lines.some(({ isBar }) => isBar) ? { x: { range: (_chart, from, to) => [from - 43_200, to + 43_200] } } : {}),
      y: { range: (_chart, least, most) => [Math.min(0, least), most <= 0 ? 1 : most * 1.05] },
    },
    axes: [
      {
        ...axis,
        values: [
          [86_400, '{D} {MMM}', null, null, null, null, null, null, 1],
          [3_600, '{HH}:{mm}', null, null, null, null, null, null, 1],
        ],
      },
      { ...axis, size: 64, values: (_chart, ticks) => ticks.map(axisDollars) },
    ],
    series: [
      { label: 'Day', value: '{YYYY}-{MM}-{DD}' },
      ...lines.map(({ label, colour: name, isDashed, isBar }): uPlot.Series => ({
        label,
        stroke: colour(name),
        width: isBar ? 0 : 2,
        points: { show: false },
        value: (_chart, value) => dollars(value),
        ...(isDashed ? { dash: [6, 4] } : {}),
        ...(isBar && uPlot.paths.bars ? { fill: colour(name), paths: uPlot.paths.bars({ size: [0.7, 40] }) } : {}),
      })),
    ],
  };
}

/** A colour of style.css as a canvas takes it: the one of the theme in force. */
function colourOf(element: HTMLElement, name: string): string {
  const probe = element.appendChild(document.createElement('span'));
  probe.style.color = `var(--${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
