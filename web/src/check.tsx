// The page's own sum of the terms beside the engine's number, and the code that gives it.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { fmt, sumOf } from "./numbers";

// The net adds up in float32, where every product and every sum is rounded by at most 2^-24 of itself: a sum of n
// products in any order is wrong by at most n 2^-24 of the sum of the terms' sizes (Higham, Accuracy and Stability of
// Numerical Algorithms, 2002, section 3.1). Equal terms come near to that, because all sums are rounded to the same side.
const ROUNDING = 2 ** -24;
const WORTH_SAYING = 1e-5; // of the sum of the terms' sizes

interface Props {
  terms: number[];
  value: number;
  /** What was computed, such as "This number". */
  what: string;
}

export function SumCheck({ terms, value, what }: Props): VNode {
  const sum = sumOf(terms);
  const size = sumOf(terms.map(Math.abs));
  const difference = Math.abs(sum - value);
  const differs = difference > WORTH_SAYING * size;
  const isRounding = difference <= terms.length * ROUNDING * size;
  const rounded = `They agree up to rounding: the net adds in float32, in another order. They differ by ${fmt(difference, 2)}, and the sizes of the terms add up to ${fmt(size, 3)}.`;
  const explained = `float32 explains it, which may be wrong by ${fmt(terms.length * ROUNDING, 2)} of that for ${terms.length} terms.`;
  return (
    <div class={differs && !isRounding ? "sums differs" : "sums"} role="group" aria-label={what}>
      <dl>
        <dt>The net has</dt>
        <dd>
          <output data-number="engine">{fmt(value)}</output>
        </dd>
        <dt>{terms.length > 1 ? `Added up here, ${terms.length} terms` : "Found here"}</dt>
        <dd>
          <output data-number="sum">{fmt(sum)}</output>
        </dd>
      </dl>
      <p>
        {differs
          ? `These differ by ${fmt(difference, 3)}, more than 0.00001 of the sum of the terms' sizes: ${isRounding ? explained : "this page or the net is wrong."}`
          : fmt(sum) === fmt(value)
            ? "They agree."
            : rounded}
      </p>
    </div>
  );
}

export function Code({ lines }: { lines: string[] }): VNode {
  const [state, setState] = useState("Copy");
  const text = lines.join("\n");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setState("Copied");
    } catch {
      setState("Select the text to copy it");
    }
  };
  return (
    <div class="code">
      <p>
        The same in Python, for <code>model</code> and the input <code>x</code>, with <code>import numpy as np</code>:
      </p>
      <pre tabIndex={0} aria-label="Python code">
        <code>{text}</code>
      </pre>
      <button type="button" class="quiet" onClick={() => void copy()}>
        {state}
      </button>
    </div>
  );
}
