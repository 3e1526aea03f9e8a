// The page's own sum of the terms beside the engine's number, and the code that gives it.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { fmt, sumOf } from "./numbers";

const TOLERANCE = 1e-5; // of the sum of the terms' sizes

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
  const differs = difference > TOLERANCE * size;
  const rounded = `They agree up to rounding: the net adds in float32, in another order. They differ by ${fmt(difference, 2)}, and the sizes of the terms add up to ${fmt(size, 3)}.`;
  return (
    <div class={differs ? "sums differs" : "sums"} role="group" aria-label={what}>
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
          ? `These differ by ${fmt(difference, 3)}, more than 0.00001 of the sum of the terms' sizes: this page or the net is wrong.`
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
