// The terms of layers with windows: the window in what is read, the kernel, and the products.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { layerName } from "./activation";
import { NumberField } from "./chooser";
import { scaleOf } from "./colour";
import { nodeOf } from "./data";
import type { Cell } from "./grid";
import { HeatMap } from "./maps";
import { fmt, short, stats } from "./numbers";
import type { Of, Plane, Window } from "./view";
import { Head, Scroll } from "./table";

const NARROW = 4; // columns that a phone can show

interface SquareProps {
  name: string;
  values: ArrayLike<number>;
  columns: number;
  isPadding?: boolean[];
  chosen?: number | undefined;
}

/** A small square of numbers. */
export function Square({ name, values, columns, isPadding, chosen }: SquareProps): VNode {
  const rows = Array.from({ length: values.length / columns }, (_, i) => i);
  return (
    <div class="square" role="group" aria-label={name} {...(columns > NARROW ? { tabIndex: 0 } : {})}>
      <table>
        <caption>{name}</caption>
        <tbody>
          {rows.map((i) => (
            <tr key={i}>
              {Array.from({ length: columns }, (_, j) => {
                const k = i * columns + j;
                const kind = isPadding?.[k] ? "padding" : chosen === k ? "chosen" : undefined;
                return (
                  <td key={j} class={kind}>
                    {short(values[k]!)}
                    {kind === "padding" && <span class="hidden"> padding</span>}
                    {kind === "chosen" && <span class="hidden"> the largest</span>}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The channel that is read, with its padding, and the window in it. */
function WindowMap({ plane, window }: { plane: Plane; window: Window }): VNode {
  const reach = [(window.rows - 1) * window.step[0] + 1, (window.columns - 1) * window.step[1] + 1] as const;
  const [[top, bottom], [left, right]] = plane.pads;
  const rows = top + Math.max(plane.rows + bottom, window.top + reach[0]);
  const columns = left + Math.max(plane.columns + right, window.left + reach[1]);
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < plane.rows; i++) {
    values.set(plane.values.subarray(i * plane.columns, (i + 1) * plane.columns), (i + top) * columns + left);
  }
  const isOutside = ({ row, column }: Cell): boolean =>
    row < top || column < left || row >= top + plane.rows || column >= left + plane.columns;
  const where = (cell: Cell): string =>
    isOutside(cell) ? "padding" : `row ${cell.row - top}, column ${cell.column - left}`;
  const box = { row: window.top + top, column: window.left + left, rows: reach[0], columns: reach[1] };
  return (
    <HeatMap
      label={`Channel ${window.channel} of ${layerName(nodeOf(plane.name)!)}, and the window in it`}
      values={values}
      scale={scaleOf(stats(plane.values))}
      rows={rows}
      columns={columns}
      where={where}
      isPadding={isOutside}
      cell={{ row: Math.min(rows - 1, box.row), column: Math.min(columns - 1, box.column) }}
      boxes={[box]}
      size={224}
    />
  );
}

export function Convolution({ details }: { details: Of<"convolution"> }): VNode {
  const { windows, kernels, sums, bias, plane } = details;
  const order = sums.map((_, c) => c).sort((a, b) => Math.abs(sums[b]!) - Math.abs(sums[a]!));
  const [picked, setPicked] = useState<number | null>(null);
  const c = picked !== null && picked < windows.length ? picked : order[0]!;
  const window = windows[c]!;
  const products = window.values.map((value, n) => value * kernels[c]![n]!);
  const many = windows.length > 1;
  return (
    <>
      {many && (
        <div class="chooser">
          <NumberField label="Input channel of the kernel" value={c} size={windows.length} onChange={setPicked} />
          <span>of {windows.length}. It begins with the one whose sum has the largest size.</span>
        </div>
      )}
      <div class="columns window">
        <WindowMap plane={plane[c]!} window={window} />
        <div>
          <div class="product" data-window={window.channel}>
            <Square name="window" values={window.values} columns={window.columns} isPadding={window.isPadding} />
            <span aria-hidden="true">×</span>
            <Square name="kernel" values={kernels[c]!} columns={window.columns} />
            <span aria-hidden="true">=</span>
            <Square name="products" values={products} columns={window.columns} />
          </div>
          {window.isPadding.includes(true) && <p class="hint">Hatched cells are padding: zeros outside the image.</p>}
          <Scroll label="Sums of all input channels">
            <table class="numbers">
              <tbody>
                <Head names={["input channel", "sum of its products"]} />
                {sums.map((sum, n) => (
                  <tr key={n} class={n === c ? "chosen" : undefined}>
                    <th scope="row">{windows[n]!.channel}</th>
                    <td>{fmt(sum)}</td>
                  </tr>
                ))}
                {bias !== null && (
                  <tr>
                    <th scope="row">bias</th>
                    <td>{fmt(bias)}</td>
                  </tr>
                )}
              </tbody>
            </table>
          </Scroll>
        </div>
      </div>
    </>
  );
}

const countsPadding = (area: number, { isPadding }: Window): string =>
  area > isPadding.filter((outside) => !outside).length ? ", with padding" : ", without padding";

export function Pool({ details }: { details: Of<"pool"> }): VNode {
  const { window, area, won, plane } = details;
  const [u, v] = [Math.floor(won / window.columns), won % window.columns];
  return (
    <>
      <div class="columns">
        <WindowMap plane={plane[0]!} window={window} />
        <Square
          name="window"
          values={window.values}
          columns={window.columns}
          isPadding={window.isPadding}
          chosen={area === null ? won : undefined}
        />
      </div>
      <p>
        {area === null
          ? `The largest number stands in row ${window.top + u * window.step[0]}, column ${window.left + v * window.step[1]}. The gradient goes back to it alone.`
          : `The sum is divided by ${area}, the cells that count${window.isPadding.includes(true) ? countsPadding(area, window) : ""}. Each of these numbers gets an equal part of the gradient.`}
      </p>
    </>
  );
}
