// Curves of the training with a table of the numbers.
import type { VNode } from "preact";
import { header } from "./data";
import { Figure } from "./maps";
import { fmt } from "./numbers";

const [WIDTH, HEIGHT, LEFT] = [420, 180, 58];
const NAMES: Record<string, string> = { train: "training", val: "validation" };

interface CurveProps {
  metric: string;
}

/** One metric of the training and of the validation, over the epochs. */
function Curve({ metric }: CurveProps): VNode | null {
  const { history } = header.page;
  const keys = ["train", "val"]
    .map((part) => `${part}_${metric}`)
    .filter((key) => history.some((epoch) => key in epoch));
  if (keys.length === 0 || history.length < 2) return null;
  const all = history.flatMap((epoch) => keys.flatMap((key) => epoch[key] ?? []));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const x = (i: number): number => LEFT + ((WIDTH - LEFT - 4) * i) / (history.length - 1);
  const y = (value: number): number => 8 + (HEIGHT - 16) * (1 - (value - low) / (high - low || 1));
  const points = (key: string): string =>
    history
      .flatMap((epoch, i) => (epoch[key] === undefined ? [] : [`${x(i).toFixed(1)} ${y(epoch[key]!).toFixed(1)}`]))
      .join("L");
  const numbers = (): VNode => (
    <table class="numbers">
      <tbody>
        <tr>
          <th scope="col">epoch</th>
          {keys.map((key) => (
            <th scope="col" key={key}>
              {NAMES[key.split("_")[0]!]} {metric}
            </th>
          ))}
        </tr>
        {history.map((epoch, i) => (
          <tr key={i}>
            <th scope="row">{epoch["epoch"] ?? i + 1}</th>
            {keys.map((key) => (
              <td key={key}>{epoch[key] === undefined ? "" : fmt(epoch[key]!)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
  const title = metric[0]!.toUpperCase() + metric.slice(1);
  return (
    <Figure caption={title} label={`the ${metric} of each epoch`} numbers={numbers}>
      <svg class="chart curve" viewBox={`0 0 ${WIDTH} ${HEIGHT + 20}`} role="img" aria-label={`${title} of each epoch`}>
        <path class="axis" d={`M${LEFT} 4V${HEIGHT - 4}H${WIDTH}`} />
        {keys.map((key) => (
          <path key={key} class={key.startsWith("val") ? "line second" : "line"} d={`M${points(key)}`} />
        ))}
        <text x={LEFT - 5} y={13} text-anchor="end">
          {fmt(high, 3)}
        </text>
        <text x={LEFT - 5} y={HEIGHT - 5} text-anchor="end">
          {fmt(low, 3)}
        </text>
        <text x={LEFT} y={HEIGHT + 14}>
          epoch 1
        </text>
        <text x={WIDTH} y={HEIGHT + 14} text-anchor="end">
          {history.length}
        </text>
      </svg>
      <p class="keys">
        {keys.map((key) => (
          <span key={key}>
            <svg viewBox="0 0 28 8" width="28" height="8" aria-hidden="true">
              <path class={key.startsWith("val") ? "line second" : "line"} d="M0 4H28" />
            </svg>
            {NAMES[key.split("_")[0]!]}
          </span>
        ))}
      </p>
    </Figure>
  );
}

export function Curves(): VNode {
  if (header.page.history.length < 2)
    return <p>There are no curves: no history of two or more epochs came with the model.</p>;
  return (
    <div class="columns">
      <Curve metric="loss" />
      <Curve metric="accuracy" />
    </div>
  );
}
