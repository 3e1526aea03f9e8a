// Arithmetic: how the chosen number is made.
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { indexOf, layerName, OneMap, placeText } from "./activation";
import { Code, SumCheck } from "./check";
import { Chooser } from "./chooser";
import { nodeOf, type Sample, type Weights } from "./data";
import { explain, index, isLeftOut } from "./explain";
import { LayerFormula } from "./formulas";
import { LeftOut } from "./map";
import { fmt, shapeOf } from "./numbers";
import { go, type Route } from "./state";
import { Terms } from "./terms";
import type { LayerNode } from "./types";

interface Props {
  sample: Sample;
  weights: Weights;
  route: Route;
}

const PAUSE = 700; // milliseconds between two steps

/** Moves to the next number, or on and on; where motion is not wanted, only step by step. */
function Steps({ node, route }: { node: LayerNode; route: Route }): VNode | null {
  const { rows, columns, flat, channels } = shapeOf(node.shape);
  const alone = flat || rows * columns === 1; // a channel has one number
  const count = alone ? channels : rows * columns;
  const [plays, setPlays] = useState(false);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const step = (by: number): void => {
    const k = ((alone ? route.channel : route.y * columns + route.x) + by + count) % count;
    go(alone ? { channel: k } : { y: Math.floor(k / columns), x: k % columns });
  };
  useEffect(() => {
    if (!plays) return;
    const timer = setTimeout(() => step(1), PAUSE);
    return () => clearTimeout(timer);
  });
  if (count < 2) return null;
  return (
    <div class="steps" role="group" aria-label="Steps">
      <button type="button" onClick={() => step(-1)}>
        Previous
      </button>
      <button type="button" onClick={() => step(1)}>
        Next
      </button>
      {!still && (
        <button type="button" aria-pressed={plays} onClick={() => setPlays(!plays)}>
          {plays ? "Pause" : "Play"}
        </button>
      )}
    </div>
  );
}

/** What is said in place of an explanation. */
function Without({ node, value, leftOut }: { node: LayerNode; value: number; leftOut: boolean }): VNode {
  const number = <output>{fmt(value)}</output>;
  if (node.kind === "") return <p>This number, {number}, is an input: the net reads it as it is.</p>;
  return (
    <p class="note">
      {leftOut
        ? "What this layer reads, or its weights, were left out, to keep the page small; so its arithmetic cannot be shown."
        : `There is no arithmetic here for ${node.text}: its numbers and gradients are those of the net.`}{" "}
      The number is {number}.
    </p>
  );
}

export function Arithmetic({ sample, weights, route }: Props): VNode {
  const node = nodeOf(route.layer)!;
  const values = sample.output(node.name);
  if (!values) {
    return (
      <>
        <Chooser route={route} />
        <LeftOut sample={sample} />
      </>
    );
  }
  const value = values[indexOf(node, route)]!;
  const found = node.kind ? explain(sample, weights, node, index(node, route)) : null;
  return (
    <>
      <Chooser route={route} />
      <div class="columns">
        <div>
          <OneMap
            node={node}
            route={route}
            values={values}
            label={`Output of ${layerName(node)}, the number to look at`}
            caption={`${layerName(node)}: ${placeText(node, route)}`}
            size={280}
          />
          <Steps node={node} route={route} />
        </div>
        <div class="result">
          {found && <LayerFormula details={found.details} />}
          {found ? (
            <SumCheck terms={found.terms} value={value} what="This number" />
          ) : (
            <Without node={node} value={value} leftOut={isLeftOut(sample, weights, node)} />
          )}
        </div>
      </div>
      {found && <Terms key={node.name} details={found.details} />}
      {found && <Code lines={found.code} />}
    </>
  );
}
