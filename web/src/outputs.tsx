// What a net says that has no probability for each class: its outputs, or a class for each place.
import type { VNode } from "preact";
import { layerName } from "./activation";
import { className, header, isOneOf, nodeOf, type Sample } from "./data";
import { fmt, percent, shapeOf } from "./numbers";
import { fragment } from "./state";

const SHOWN = 32;

interface Line {
  name: string;
  text: string;
}

const { shape } = nodeOf(header.logits)!;
const { channels, rows, columns, flat } = shapeOf(shape);
const places = rows * columns;

function nameOf(i: number): string {
  if (flat) return `output ${i}`;
  const [channel, place] = [Math.floor(i / places), i % places];
  if (shape.length === 2) return `channel ${channel}, position ${place}`;
  return `channel ${channel}, row ${Math.floor(place / columns)}, column ${place % columns}`;
}

/** At which share of the places each class has the largest score. */
function shares(values: Float32Array): Line[] {
  const counts = Array.from({ length: channels }, () => 0);
  for (let i = 0; i < places; i++) {
    let best = 0;
    for (let k = 1; k < channels; k++) if (values[k * places + i]! > values[best * places + i]!) best = k;
    counts[best]!++;
  }
  return counts
    .map((count, k) => ({ k, share: count / places }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share)
    .map(({ k, share }) => ({ name: className(k), text: `${percent(share)} of the places` }));
}

/** The most important of what the net says; null if it was left out. */
export function linesOf(sample: Sample): Line[] | null {
  const values = sample.output(header.logits);
  if (!values) return null;
  if (isOneOf && !flat) return shares(values).slice(0, SHOWN);
  return Array.from(values.subarray(0, SHOWN), (value, i) => ({ name: nameOf(i), text: fmt(value) }));
}

export function Outputs({ sample }: { sample: Sample }): VNode {
  const lines = linesOf(sample);
  if (!lines) return <p>The outputs were left out, to keep the page small.</p>;
  const first = channels * places > SHOWN ? `, the first ${SHOWN} of them` : "";
  const all = (
    <a href={fragment({ layer: header.logits, section: "map" })}>All outputs of {layerName(nodeOf(header.logits)!)}</a>
  );
  return (
    <>
      {flat && <p>This net has no classes: these are its outputs{first}.</p>}
      {!flat && isOneOf && (
        <p>
          The net says a class for each of {rows} × {columns} places: the one with the largest score there. {all}
        </p>
      )}
      {!flat && !isOneOf && (
        <p>
          The net gives a number for each channel and place{first}. {all}
        </p>
      )}
      <table class="classes">
        <tbody>
          {lines.map(({ name, text }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
