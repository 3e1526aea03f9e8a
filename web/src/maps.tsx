// Maps of numbers with a legend and a table: one channel, and the small pictures of all channels.
import type { ComponentChildren, VNode } from "preact";
import { useId, useState } from "preact/hooks";
import { paint, scaleOf, type Scale } from "./colour";
import { Grid, type Box, type Cell } from "./grid";
import { fmt, short, stats } from "./numbers";
import { Head, Scroll } from "./table";

export function Legend({ scale }: { scale: Scale }): VNode {
  return (
    <span class="legend">
      <span>{scale.signed ? short(-scale.limit) : "0"}</span>
      <i class={scale.signed ? "ramp signed" : "ramp"} aria-hidden="true" />
      <span>{short(scale.limit)}</span>
    </span>
  );
}

interface FigureProps {
  caption: ComponentChildren;
  scale?: Scale;
  label: string;
  numbers: () => VNode;
  children: ComponentChildren;
}

/** A drawing with a caption, a legend, and a button that shows its numbers as a table. */
export function Figure({ caption, scale, label, numbers, children }: FigureProps): VNode {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <figure>
      <figcaption>{caption}</figcaption>
      {children}
      <div class="under">
        {scale && <Legend scale={scale} />}
        <button type="button" class="quiet" aria-expanded={open} aria-controls={id} onClick={() => setOpen(!open)}>
          {open ? "Hide numbers" : "Show numbers"}
          <span class="hidden"> of {label}</span>
        </button>
      </div>
      <div id={id}>{open && <Scroll label={`Numbers of ${label}`}>{numbers()}</Scroll>}</div>
    </figure>
  );
}

interface TableProps {
  values: ArrayLike<number>;
  rows: number;
  columns: number;
  at?: Cell;
}

export function NumberTable({ values, rows, columns, at }: TableProps): VNode {
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  return (
    <table class="numbers">
      <tbody>
        <tr>
          <td />
          {range(columns).map((j) => (
            <th scope="col" key={j}>
              {j}
            </th>
          ))}
        </tr>
        {range(rows).map((i) => (
          <tr key={i}>
            <th scope="row">{i}</th>
            {range(columns).map((j) => {
              const k = i * columns + j;
              const chosen = at?.row === i && at.column === j;
              return (
                <td key={j} class={chosen ? "chosen" : undefined}>
                  {k < values.length ? fmt(values[k]!) : ""}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const LARGEST = 336;
const MARKED = 9; // pixels of a cell that is large enough for a minus
const FAINT = 0.15; // of the largest number: smaller ones get no minus

/** Pixels of a cell, so that a map of so many columns is easy to see. */
const sideOf = (rows: number, columns: number, size: number): number =>
  Math.max(1, Math.min(40, Math.floor(size / Math.max(rows, columns))));

interface MapProps {
  label: string;
  caption?: ComponentChildren;
  values: ArrayLike<number>;
  rows: number;
  columns: number;
  scale?: Scale;
  cell?: Cell;
  onMove?: (cell: Cell) => void;
  where?: (cell: Cell) => string;
  boxes?: Box[];
  size?: number;
  isPadding?: (cell: Cell) => boolean;
  /** Whether the cursor is shown only while the map has the focus. */
  idle?: boolean;
}

/** Draw a cell of padding. */
function hatch(context: CanvasRenderingContext2D, x: number, y: number, side: number): void {
  context.fillStyle = "rgb(120, 122, 128)";
  context.fillRect(x, y, side, side);
  context.strokeStyle = "rgb(196, 198, 202)";
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, y + side);
  context.lineTo(x + side, y);
  context.stroke();
}

/** Two dimensions of numbers as a heat map. */
export function HeatMap(props: MapProps): VNode {
  const { label, values, rows, columns, size = LARGEST } = props;
  const scale = props.scale ?? scaleOf(stats(values));
  const side = sideOf(rows, columns, size);
  const where = props.where ?? ((cell: Cell) => `row ${cell.row}, column ${cell.column}`);
  const say = (cell: Cell): string => {
    const k = cell.row * columns + cell.column;
    return k < values.length ? `${where(cell)}: ${fmt(values[k]!)}` : "empty";
  };
  const cell = props.cell ?? { row: 0, column: 0 };
  const draw = (context: CanvasRenderingContext2D): void => {
    paint(context, values, columns, scale, { left: 0, top: 0, side });
    for (let k = 0; k < values.length && (side >= MARKED || props.isPadding); k++) {
      const [row, column] = [Math.floor(k / columns), k % columns];
      if (props.isPadding?.({ row, column })) hatch(context, column * side, row * side, side);
      if (side >= MARKED && values[k]! < -FAINT * scale.limit) {
        context.fillStyle = "rgba(255, 255, 255, .6)"; // a minus
        context.fillRect((column + 0.3) * side, row * side + Math.floor(side / 2), side * 0.4, 1);
      }
    }
  };
  return (
    <Figure
      label={label}
      caption={props.caption ?? label}
      scale={scale}
      numbers={() => <NumberTable values={values} rows={rows} columns={columns} at={cell} />}
    >
      <Grid
        name={label}
        rows={rows}
        columns={columns}
        width={columns * side}
        height={rows * side}
        draw={draw}
        drawn={[values, scale.limit, scale.signed]}
        say={say}
        cell={cell}
        isCell={({ row, column }) => row * columns + column < values.length}
        {...(props.onMove ? { onMove: props.onMove } : {})}
        idle={props.idle ?? !props.onMove}
        boxes={props.boxes ?? []}
      />
    </Figure>
  );
}

interface MosaicProps {
  label: string;
  caption?: ComponentChildren;
  values: Float32Array;
  channels: number;
  rows: number;
  columns: number;
  channel: number;
  what?: string;
  onMove: (channel: number) => void;
}

const WIDE = 640;

/** Small pictures of all channels, side by side, with one scale. */
export function Mosaic(props: MosaicProps): VNode {
  const { label, values, channels, rows, columns, channel, what = "channel" } = props;
  const scale = scaleOf(stats(values));
  const across = Math.max(1, Math.min(channels, Math.ceil(Math.sqrt(channels * 2.5 * (rows / columns)))));
  const down = Math.ceil(channels / across);
  const zoom = Math.max(1, Math.min(18, Math.floor(WIDE / (across * (columns + 2))), Math.ceil(56 / columns)));
  const gap = 2;
  const [stepX, stepY] = [columns * zoom + gap, rows * zoom + gap];
  const part = (c: number): Float32Array => values.subarray(c * rows * columns, (c + 1) * rows * columns);
  const say = (cell: Cell): string => {
    const c = cell.row * across + cell.column;
    if (c >= channels) return "empty";
    const { min, max } = stats(part(c));
    return `${what} ${c}: from ${fmt(min)} to ${fmt(max)}`;
  };
  const draw = (context: CanvasRenderingContext2D): void => {
    for (let c = 0; c < channels; c++) {
      const [left, top] = [(c % across) * stepX + gap / 2, Math.floor(c / across) * stepY + gap / 2];
      paint(context, part(c), columns, scale, { left, top, side: zoom });
    }
  };
  const numbers = (): VNode => (
    <table class="numbers">
      <tbody>
        <Head names={[what, "smallest", "mean", "largest"]} />
        {Array.from({ length: channels }, (_, c) => {
          const { min, max, mean } = stats(part(c));
          return (
            <tr key={c}>
              <th scope="row">{c}</th>
              <td>{fmt(min)}</td>
              <td>{fmt(mean)}</td>
              <td>{fmt(max)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
  return (
    <Figure label={label} caption={props.caption ?? label} scale={scale} numbers={numbers}>
      <Grid
        name={label}
        rows={down}
        columns={across}
        width={across * stepX}
        height={down * stepY}
        draw={draw}
        drawn={[values, channels, rows, columns]}
        say={say}
        cell={{ row: Math.floor(channel / across), column: channel % across }}
        isCell={({ row, column }) => row * across + column < channels}
        onMove={({ row, column }) => props.onMove(row * across + column)}
      />
    </Figure>
  );
}
