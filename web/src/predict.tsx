// Predict: the images, one of them as the net sees it, and the classes.
import type { VNode } from "preact";
import { OneMap } from "./activation";
import { className, given, header, isOneOf, nodeOf, SAMPLE, type Sample } from "./data";
import { Live, live } from "./live";
import { HeatMap } from "./maps";
import { fmt, percent, shapeOf } from "./numbers";
import { Outputs } from "./outputs";
import { isPicture, Picture } from "./picture";
import { go, type Route } from "./state";

const SHOWN = 10;
const WHY: Record<string, string> = { unsure: "least sure", sure: "most sure" };
const isClass = (label: unknown): label is number => typeof label === "number" && Number.isInteger(label);

function Choice({ index, chosen }: { index: number; chosen: boolean }): VNode {
  const image = header.images[index]!;
  const known = isClass(image.label) && image.predicted !== null && image.probabilities !== null;
  const right = image.label === image.predicted;
  const mark = known ? (right ? "✓ " : "✗ ") : "";
  return (
    <button type="button" class="choice" aria-pressed={chosen} onClick={() => go({ image: index })}>
      {image.pixels && isPicture(image.pixels.shape) && <Picture index={index} size={72} />}
      <span>
        <span aria-hidden="true">{mark}</span>
        {image.probabilities && isOneOf ? className(image.predicted) : image.name}
      </span>
      <small>
        {known && !right ? `is ${className(image.label as number)}` : image.why ? (WHY[image.why] ?? "") : ""}
        {known && right && !WHY[image.why ?? ""] ? "right" : ""}
      </small>
    </button>
  );
}

interface GalleryProps {
  title: string;
  from: number;
  to?: number;
  chosen: number;
}

function Gallery({ title, from, to, chosen }: GalleryProps): VNode {
  return (
    <>
      {live && <h3>{title}</h3>}
      <div class="gallery" role="group" aria-label={title}>
        {header.images.slice(from, to).map((_, i) => (
          <Choice key={from + i} index={from + i} chosen={from + i === chosen} />
        ))}
      </div>
    </>
  );
}

function Classes({ sample }: { sample: Sample }): VNode {
  const { probabilities, label } = sample.entry;
  if (!probabilities) return <Outputs sample={sample} />;
  const order = probabilities.map((_, k) => k).sort((a, b) => probabilities[b]! - probabilities[a]!);
  const classes = isOneOf ? "classes" : "classes, each a yes or no of its own";
  const shown = order.slice(0, SHOWN);
  if (isClass(label) && !shown.includes(label) && label < probabilities.length) shown.push(label);
  return (
    <table class="classes">
      <caption>
        {probabilities.length > SHOWN
          ? `The ${SHOWN} most likely of ${probabilities.length} ${classes}`
          : classes[0]!.toUpperCase() + classes.slice(1)}
      </caption>
      <thead>
        <tr>
          <th scope="col">class</th>
          <th scope="col">probability</th>
          <td class="wide" />
        </tr>
      </thead>
      <tbody>
        {shown.map((k) => (
          <tr key={k}>
            <th scope="row">
              {className(k)}
              {k === label && <em>true class</em>}
            </th>
            <td data-number={`p ${k}`}>{fmt(probabilities[k]!)}</td>
            <td class="wide" aria-hidden="true">
              <i class="bar" style={{ width: percent(probabilities[k]!).replace(" ", "") }} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function AsSeen({ sample, route }: { sample: Sample; route: Route }): VNode {
  const node = nodeOf("input")!;
  const values = sample.output("input");
  if (!values) return <p>What the net sees of this {SAMPLE} was left out, to keep the page small.</p>;
  const { channels, rows, columns, flat } = shapeOf(node.shape);
  if (flat || channels === 1) {
    return <OneMap node={node} route={route} values={values} label="The input, as the net sees it" size={224} />;
  }
  const names = channels === 3 ? ["red", "green", "blue"] : [];
  const shown = Array.from({ length: Math.min(channels, 3) }, (_, c) => c);
  return (
    <>
      {shown.map((c) => (
        <HeatMap
          key={c}
          label={`The input, as the net sees it: ${names[c] ?? `channel ${c}`}`}
          caption={`${names[c] ?? `channel ${c}`}, as the net sees it`}
          values={values.subarray(c * rows * columns, (c + 1) * rows * columns)}
          rows={rows}
          columns={columns}
          size={176}
          idle={!(route.layer === "input" && route.channel === c)}
          cell={
            route.layer === "input" && route.channel === c ? { row: route.y, column: route.x } : { row: 0, column: 0 }
          }
          onMove={(cell) => go({ layer: "input", channel: c, y: cell.row, x: cell.column })}
        />
      ))}
    </>
  );
}

function scaling(): string {
  const settings = header.model.preprocessing;
  if (!settings) return "";
  const list = (value: unknown): string =>
    [value]
      .flat(3)
      .map((v) => fmt(Number(v), 4))
      .join(", ");
  const scale = Number(settings["scale"] ?? 1 / 255);
  const parts = [Math.abs(255 * scale - 1) < 1e-6 ? "pixel / 255" : scale === 1 ? "pixel" : `pixel × ${fmt(scale, 4)}`];
  if (settings["mean"] !== undefined) parts.push(`minus ${list(settings["mean"])}`);
  if (settings["std"] !== undefined) parts.push(`divided by ${list(settings["std"])}`);
  return `Each number is ${parts.join(", ")}.`;
}

export function Predict({ sample, route }: { sample: Sample; route: Route }): VNode {
  const { pixels, name, label, predicted, probabilities } = sample.entry;
  const yes = probabilities?.flatMap((p, k) => (p >= 0.5 ? [className(k)] : []));
  const about = [
    isClass(label) && probabilities ? `The true class is ${className(label)}.` : "",
    probabilities && !isOneOf ? `The net says yes to ${yes?.join(", ") || "no class"}.` : "",
    predicted !== null && probabilities && isOneOf ? `The net says ${className(predicted)}.` : "",
  ];
  return (
    <>
      {live && <Live image={sample.index} about={live} />}
      {header.images.length > given && <Gallery title="Yours" from={given} chosen={sample.index} />}
      <Gallery title={SAMPLE === "image" ? "Images" : "Samples"} from={0} to={given} chosen={sample.index} />
      <p>{[`${name}.`, ...about].filter(Boolean).join(" ")}</p>
      <div class={nodeOf("input")!.shape.length === 3 && nodeOf("input")!.shape[0]! > 1 ? "columns planes" : "columns"}>
        {pixels && isPicture(pixels.shape) && (
          <figure>
            <figcaption>The image, as it was given</figcaption>
            <Picture index={sample.index} size={sample.entry.pixels!.shape[0] === 3 ? 176 : 224} />
          </figure>
        )}
        <AsSeen sample={sample} route={route} />
        <div>
          <Classes sample={sample} />
        </div>
      </div>
      <p class="hint">
        {scaling()} In every map lighter is larger, and a minus marks numbers far below zero. The arrow keys move over a
        map; its numbers are read out.
      </p>
    </>
  );
}
