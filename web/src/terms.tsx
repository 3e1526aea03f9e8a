// The terms of one number, as its kind of layer has them.
import { Fragment, type ComponentChildren, type VNode } from "preact";
import { layerName, placeText } from "./activation";
import { Formula, N } from "./formula";
import { fmt } from "./numbers";
import { fragment } from "./state";
import type { LayerNode } from "./types";
import type { Details, Of } from "./view";
import { Convolution, Pool } from "./windows";
import { Head, Scroll } from "./table";

const LARGEST = 12;

function Linear({ details }: { details: Of<"linear"> }): VNode {
  const { inputs, weights, products, bias } = details;
  const order = products.map((_, i) => i).sort((a, b) => Math.abs(products[b]!) - Math.abs(products[a]!));
  const shown = order.slice(0, LARGEST);
  const rest = order.slice(LARGEST);
  return (
    <Scroll label="Largest contributions">
      <table class="numbers">
        <caption>The largest contributions</caption>
        <tbody>
          <Head names={["input", "its number", "weight", "product"]} />
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
    </Scroll>
  );
}

/** Links to the numbers that are read. */
function From({ what, from, places }: { what: ComponentChildren; from: LayerNode[]; places: number[][] }): VNode {
  return (
    <p>
      {what}{" "}
      {from.map((node, i) => {
        const [channel = 0, ...rest] = places[i]!;
        const [y, x] = rest.length === 1 ? [0, rest[0]!] : [rest[0] ?? 0, rest[1] ?? 0];
        const to = { layer: node.name, channel, y, x, section: "arithmetic" };
        return (
          <Fragment key={i}>
            {i > 0 && ", "}
            <a href={fragment(to)}>
              {layerName(node)}, {placeText(node, { channel, y, x })}
            </a>
          </Fragment>
        );
      })}
      .
    </p>
  );
}

function Softmax({ details }: { details: Of<"softmax"> }): VNode {
  const { inputs, exponentials, sum, at } = details;
  const order = inputs.map((_, k) => k).sort((a, b) => inputs[b]! - inputs[a]!);
  const shown = order.slice(0, LARGEST);
  if (!shown.includes(at)) shown.push(at);
  return (
    <Scroll label="Exponentials">
      <table class="numbers">
        <caption>{inputs.length > LARGEST ? "The largest numbers, and the chosen one" : "All numbers"}</caption>
        <tbody>
          <Head names={["k", "z", "exponential of z − m", "its share of the sum"]} />
          {shown.map((k) => (
            <tr key={k} class={k === at ? "chosen" : undefined}>
              <th scope="row">{k}</th>
              <td>{fmt(inputs[k]!)}</td>
              <td>{fmt(exponentials[k]!)}</td>
              <td>{fmt(exponentials[k]! / sum)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
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
    case "softmax":
      return <Softmax details={details} />;
    case "copy":
      return <From what="The number is copied from" from={details.from} places={details.places} />;
    case "norm":
    case "affine":
      return (
        <From what="The number that is shifted and scaled comes from" from={details.from} places={details.places} />
      );
    case "curve":
      return (
        <From
          what={
            <>
              <i>a</i> comes from
            </>
          }
          from={details.from}
          places={details.places}
        />
      );
    case "join":
      return (
        <>
          <Formula>
            {details.inputs.map((value, i) => (
              <mrow key={i}>
                {i > 0 && <mo>{details.sign === "+" ? "+" : "×"}</mo>}
                <N wrap={i > 0} value={value} />
              </mrow>
            ))}
          </Formula>
          <From what="These numbers come from" from={details.from} places={details.places} />
        </>
      );
  }
}
