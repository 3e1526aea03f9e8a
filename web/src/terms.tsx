// The terms of one number: windows and kernels, products, and what is added.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { scaleOf } from "./colour";
import { layerName } from "./activation";
import { nodeOf } from "./data";
import type { Cell } from "./grid";
import { HeatMap } from "./maps";
import { fmt, short, stats } from "./numbers";
import { fragment } from "./state";
import type { Details, Plane, Window } from "./view";
import { Formula, N } from "./formula";

const LARGEST = 12;

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
    <table class="square">
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
      size={280}
    />
  );
}

type Of<K extends Details["kind"]> = Extract<Details, { kind: K }>;

function Convolution({ details }: { details: Of<"convolution"> }): VNode {
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
        <p class="step">
          <label>
            Input channel{" "}
            <input
              type="number"
              min={0}
              max={windows.length - 1}
              value={c}
              onInput={(event) =>
                setPicked(Math.max(0, Math.min(windows.length - 1, event.currentTarget.valueAsNumber || 0)))
              }
            />
          </label>{" "}
          of {windows.length}; first the one with the largest sum.
        </p>
      )}
      <div class="columns">
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
          <div class="scroll" tabIndex={0} role="region" aria-label="Sums of all input channels">
            <table class="numbers">
              <tbody>
                <tr>
                  <th scope="col">input channel</th>
                  <th scope="col">sum of its products</th>
                </tr>
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
          </div>
        </div>
      </div>
    </>
  );
}

function Linear({ details }: { details: Of<"linear"> }): VNode {
  const { inputs, weights, products, bias } = details;
  const order = products.map((_, i) => i).sort((a, b) => Math.abs(products[b]!) - Math.abs(products[a]!));
  const shown = order.slice(0, LARGEST);
  const rest = order.slice(LARGEST);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Largest contributions">
      <table class="numbers">
        <caption>The largest contributions</caption>
        <tbody>
          <tr>
            {["input", "its number", "weight", "product"].map((text) => (
              <th scope="col" key={text}>
                {text}
              </th>
            ))}
          </tr>
          {shown.map((i) => (
            <tr key={i}>
              <th scope="row">{i}</th>
              <td>{fmt(inputs[i]!)}</td>
              <td>{fmt(weights[i]!)}</td>
              <td>{fmt(products[i]!)}</td>
            </tr>
          ))}
          {rest.length > 0 && (
            <tr>
              <th scope="row">{rest.length} others</th>
              <td />
              <td />
              <td>{fmt(rest.reduce((sum, i) => sum + products[i]!, 0))}</td>
            </tr>
          )}
          {bias !== null && (
            <tr>
              <th scope="row">bias</th>
              <td />
              <td />
              <td>{fmt(bias)}</td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}

function Pool({ details }: { details: Of<"pool"> }): VNode {
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
          : `The sum is divided by ${area}. Each of these numbers gets an equal part of the gradient.`}
      </p>
    </>
  );
}

/** The terms, as their kind of layer has them. */
export function Terms({ details }: { details: Details }): VNode {
  switch (details.kind) {
    case "convolution":
      return <Convolution details={details} />;
    case "linear":
      return <Linear details={details} />;
    case "pool":
      return <Pool details={details} />;
    case "copy": {
      const [channel, y = 0, x = 0] = details.index;
      const place = details.index.join(", ");
      return (
        <p>
          The number is copied from {layerName(details.from)}, place{" "}
          <a href={fragment({ layer: details.from.name, channel: channel ?? 0, y, x, section: "arithmetic" })}>
            {place}
          </a>
          .
        </p>
      );
    }
    case "join":
      return (
        <Formula>
          {details.inputs.map((value, i) => (
            <mrow key={i}>
              {i > 0 && <mo>{details.sign === "+" ? "+" : "×"}</mo>}
              <N wrap={i > 0} value={value} />
            </mrow>
          ))}
        </Formula>
      );
    default:
      return <></>;
  }
}
