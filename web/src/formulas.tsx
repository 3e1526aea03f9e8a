// The formula of each kind of layer, with the numbers filled in where they are few.
import type { VNode } from "preact";
import { Formula, Frac, I, N, O, Sub, Sum, T } from "./formula";
import type { Details } from "./view";

/** Plus the bias, if there is one. */
const Bias = ({ of }: { of: { bias: number | null } }): VNode | null =>
  of.bias === null ? null : (
    <>
      <O>+</O>
      <I>b</I>
    </>
  );

export function LayerFormula({ details }: { details: Details }): VNode | null {
  switch (details.kind) {
    case "convolution":
      return (
        <Formula>
          <I>y</I>
          <O>=</O>
          <Sum over={<I>c</I>}>
            <Sum
              over={
                <>
                  <I>u</I>
                  <O>,</O>
                  <I>v</I>
                </>
              }
            >
              <Sub base="w" index="c,u,v" />
              <Sub base="x" index="c,u,v" />
            </Sum>
          </Sum>
          <Bias of={details} />
        </Formula>
      );
    case "linear":
      return (
        <Formula>
          <I>y</I>
          <O>=</O>
          <Sum over={<I>i</I>}>
            <Sub base="w" index="i" />
            <Sub base="x" index="i" />
          </Sum>
          <Bias of={details} />
        </Formula>
      );
    case "pool":
      return details.area === null ? (
        <Formula>
          <I>y</I>
          <O>=</O>
          <T>the largest number of the window</T>
        </Formula>
      ) : (
        <Formula>
          <I>y</I>
          <O>=</O>
          <Frac over={<T>sum of the window</T>} under={<N value={details.area} />} />
        </Formula>
      );
    case "norm":
      return (
        <Formula>
          <I>y</I>
          <O>=</O>
          <N value={details.weight} />
          <O>·</O>
          <Frac
            over={
              <>
                <N value={details.input} />
                <O>−</O>
                <N wrap value={details.mean} />
              </>
            }
            under={
              <msqrt>
                <N value={details.variance} />
                <O>+</O>
                <N value={details.eps} />
              </msqrt>
            }
          />
          <O>+</O>
          <N wrap value={details.bias} />
        </Formula>
      );
    case "affine":
      return (
        <Formula>
          <I>y</I>
          <O>=</O>
          <N value={details.weight} />
          <O>·</O>
          <N wrap value={details.input} />
          <O>+</O>
          <N wrap value={details.bias} />
        </Formula>
      );
    case "softmax":
      return (
        <Formula>
          <Sub base="p" index="k" />
          <O>=</O>
          <Frac
            over={
              <msup>
                <I>e</I>
                <mrow>
                  <N value={details.inputs[details.at]!} digits={5} />
                  <O>−</O>
                  <N wrap value={details.max} digits={5} />
                </mrow>
              </msup>
            }
            under={
              <Sum over={<I>j</I>}>
                <msup>
                  <I>e</I>
                  <mrow>
                    <Sub base="z" index="j" />
                    <O>−</O>
                    <N wrap value={details.max} digits={5} />
                  </mrow>
                </msup>
              </Sum>
            }
          />
          <O>=</O>
          <Frac over={<N value={details.exponentials[details.at]!} />} under={<N value={details.sum} />} />
        </Formula>
      );
    case "curve":
      return (
        <Formula>
          <I>y</I>
          <O>=</O>
          <T>{details.text}</T>
          <O>,</O>
          <I>a</I>
          <O>=</O>
          <N value={details.input} />
        </Formula>
      );
    default:
      return null;
  }
}
