// Backward: from the loss to the gradient in every number, and in one weight.
import type { VNode } from "preact";
import { AllChannels, indexOf, layerName, OneMap, placeKey, placeText } from "./activation";
import { SumCheck } from "./check";
import { Chooser } from "./chooser";
import { className, header, isOneOf, nodeOf, type Sample, type Weights } from "./data";
import { Formula, I, N, O, Sub, Sum } from "./formula";
import { LeftOut } from "./map";
import { fmt, percent, stats, sumOf } from "./numbers";
import { fragment, type Route } from "./state";
import { WeightGradient } from "./weight";
import { Head, Scroll } from "./table";

interface Props {
  sample: Sample;
  weights: Weights;
  route: Route;
}

const SHOWN = 10;

/** The classes with the largest p - y first. */
function Start({ sample }: { sample: Sample }): VNode | null {
  const { probabilities: p, class: y, loss } = sample.entry;
  const z = sample.output(header.logits);
  const grad = sample.grad(header.logits);
  if (!isOneOf || !p || y === null || !z || !grad || z.length !== p.length) {
    return (
      <p>
        The loss is {header.model.loss}: <output data-number="loss">{fmt(loss)}</output>. Its gradient in the outputs is
        where the way back begins.
      </p>
    );
  }
  const largest = Math.max(...z);
  const terms = [largest, Math.log(sumOf([...z].map((value) => Math.exp(value - largest)))), -z[y]!];
  const order = p.map((_, k) => k).sort((a, b) => Math.abs(grad[b]!) - Math.abs(grad[a]!));
  const shown = order.slice(0, SHOWN);
  const known = typeof sample.entry.label === "number";
  return (
    <>
      <p>
        The loss is small if the {known ? "true" : "predicted"} class, {className(y)}, has a large probability. It is
        computed from the numbers <i>z</i> that the last Softmax reads:
      </p>
      <Formula>
        <I>L</I>
        <O>=</O>
        <O>−</O>
        <I>log</I>
        <Sub base="p" index="y" />
        <O>=</O>
        <I>m</I>
        <O>+</O>
        <I>log</I>
        <Sum over={<I>k</I>}>
          <msup>
            <I>e</I>
            <mrow>
              <Sub base="z" index="k" />
              <O>−</O>
              <I>m</I>
            </mrow>
          </msup>
        </Sum>
        <O>−</O>
        <Sub base="z" index="y" />
        <O>=</O>
        <N value={terms[0]!} />
        <O>+</O>
        <N value={terms[1]!} />
        <O>−</O>
        <N wrap value={z[y]!} />
      </Formula>
      <p class="hint">
        <i>m</i> is the largest of them. Subtracting it keeps the exponentials small.
      </p>
      <SumCheck terms={terms} value={loss} what="The loss" />
      <p>
        Its gradient in <i>z</i> is simple: the probability of each class, minus 1 for the{" "}
        {known ? "true" : "predicted"} class, minus 0 for all others.
      </p>
      <Scroll label="p minus y">
        <table class="numbers">
          <tbody>
            <Head names={["class", "p", "y", "p − y", "the net has"]} />
            {shown.map((k) => (
              <tr key={k} class={k === y ? "chosen" : undefined}>
                <th scope="row">{className(k)}</th>
                <td>{fmt(p[k]!)}</td>
                <td>{k === y ? 1 : 0}</td>
                <td>{fmt(p[k]! - (k === y ? 1 : 0))}</td>
                <td data-number={`z ${k}`}>{fmt(grad[k]!)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {p.length > SHOWN && (
        <p class="hint">
          The {SHOWN} largest of {p.length}.
        </p>
      )}
    </>
  );
}

/** The size of the gradient in each layer, from the last to the first. */
function Sizes({ sample, route }: { sample: Sample; route: Route }): VNode {
  const chain = header.nodes.slice(0, 1 + header.nodes.findIndex((node) => node.name === header.logits));
  const sizes = chain
    .map((node) => ({ node, grad: sample.grad(node.name) }))
    .map(({ node, grad }) => ({ node, norm: grad ? stats(grad).norm : null }))
    .reverse();
  const most = Math.max(...sizes.map(({ norm }) => norm ?? 0));
  return (
    <Scroll label="Size of the gradient in each layer">
      <table class="numbers bars">
        <tbody>
          <tr>
            <th scope="col">layer</th>
            <th scope="col">size of the gradient</th>
            <td class="wide" />
          </tr>
          {sizes.map(({ node, norm }) => (
            <tr key={node.name} class={node.name === route.layer ? "chosen" : undefined}>
              <th scope="row">
                <a href={fragment({ layer: node.name })}>{layerName(node)}</a>
              </th>
              <td>{norm === null ? "left out" : fmt(norm, 4)}</td>
              <td class="wide" aria-hidden="true">
                <i class="bar" style={{ width: percent(most > 0 ? (norm ?? 0) / most : 0).replace(" ", "") }} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

export function Backward({ sample, weights, route }: Props): VNode {
  if (!sample.entry.complete) return <LeftOut sample={sample} />;
  const node = nodeOf(route.layer)!;
  const grad = sample.grad(node.name);
  const label = `Gradient in ${layerName(node)}`;
  return (
    <>
      <h3>The loss</h3>
      <Start sample={sample} />
      <h3>Layer by layer</h3>
      <p>
        Each layer turns the gradient in its output into the gradient in what it read. A number of a map says how much
        the loss changes if that number grows a little: where it is positive, a larger number makes the loss larger. The
        size is the root of the sum of squares.
      </p>
      <Sizes sample={sample} route={route} />
      <Chooser route={route} />
      {grad ? (
        <>
          <AllChannels node={node} route={route} values={grad} label={`${label}, all channels`} />
          <OneMap
            node={node}
            route={route}
            values={grad}
            label={label}
            caption={`${label}: ${placeText(node, route)}`}
          />
          <p>
            The gradient in {placeText(node, route)} is{" "}
            <output data-number="gradient" data-place={placeKey(sample, route)}>
              {fmt(grad[indexOf(node, route)]!)}
            </output>
            .
          </p>
        </>
      ) : (
        <p class="note">The gradient in this layer is not on this page.</p>
      )}
      <h3 id="one-weight" tabIndex={-1}>
        The gradient in one weight
      </h3>
      <WeightGradient sample={sample} weights={weights} route={route} />
    </>
  );
}
