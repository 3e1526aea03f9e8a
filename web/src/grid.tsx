// A map of cells on a canvas: one tab stop, arrow keys, and what is under the cursor read out.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { announce } from "./state";

export interface Cell {
  row: number;
  column: number;
}

export interface Box extends Cell {
  rows: number;
  columns: number;
}

interface Props {
  name: string;
  rows: number;
  columns: number;
  /** Pixels of the drawing, and how it is drawn. */
  width: number;
  height: number;
  draw: (context: CanvasRenderingContext2D) => void;
  drawn: readonly unknown[];
  say: (cell: Cell) => string;
  cell: Cell;
  onMove?: (cell: Cell) => void;
  isCell?: (cell: Cell) => boolean;
  boxes?: Box[];
  idle?: boolean;
  children?: ComponentChildren;
}

const part = (a: number, b: number): string => `${(100 * a) / b}%`;

export function Grid(props: Props): VNode {
  const { name, rows, columns, width, height, say, onMove, boxes = [] } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const id = useId();
  const [own, setOwn] = useState<Cell>(props.cell);
  const cell = onMove ? props.cell : own;
  const row = Math.min(Math.max(cell.row, 0), rows - 1);
  const column = Math.min(Math.max(cell.column, 0), columns - 1);

  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    context.clearRect(0, 0, width, height);
    props.draw(context);
  }, [width, height, ...props.drawn]);

  const move = (to: Cell): void => {
    const next = {
      row: Math.min(Math.max(to.row, 0), rows - 1),
      column: Math.min(Math.max(to.column, 0), columns - 1),
    };
    if (props.isCell && !props.isCell(next)) return;
    setOwn(next);
    onMove?.(next);
    announce(say(next));
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const steps: Record<string, Cell> = {
      ArrowLeft: { row, column: column - 1 },
      ArrowRight: { row, column: column + 1 },
      ArrowUp: { row: row - 1, column },
      ArrowDown: { row: row + 1, column },
      Home: { row, column: 0 },
      End: { row, column: columns - 1 },
      PageUp: { row: 0, column },
      PageDown: { row: rows - 1, column },
    };
    const to = steps[event.key];
    if (!to || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(to);
  };

  const onClick = (event: MouseEvent): void => {
    const box = canvas.current!.getBoundingClientRect();
    move({
      row: Math.floor(((event.clientY - box.top) / box.height) * rows),
      column: Math.floor(((event.clientX - box.left) / box.width) * columns),
    });
  };

  const place = (box: Box): Record<string, string> => ({
    left: part(box.column, columns),
    top: part(box.row, rows),
    width: part(box.columns, columns),
    height: part(box.rows, rows),
  });

  return (
    <div
      class="grid"
      role="grid"
      tabIndex={0}
      aria-label={name}
      aria-rowcount={rows}
      aria-colcount={columns}
      aria-activedescendant={id}
      onKeyDown={onKeyDown}
      onClick={onClick}
      onFocus={() => announce(say({ row, column }))}
      style={{ maxWidth: `${width}px` }}
    >
      <canvas ref={canvas} width={width} height={height} aria-hidden="true" />
      {boxes.map((box) => (
        <div class="box" key={`${box.row} ${box.column}`} style={place(box)} />
      ))}
      <div role="row" aria-rowindex={row + 1}>
        <div
          id={id}
          role="gridcell"
          class={props.idle ? "cursor idle" : "cursor"}
          aria-colindex={column + 1}
          aria-selected="true"
          aria-label={say({ row, column })}
          style={place({ row, column, rows: 1, columns: 1 })}
        />
      </div>
    </div>
  );
}
