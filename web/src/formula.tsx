// Formulas as MathML, from small parts.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { fmt } from "./numbers";

type Part = ComponentChildren;

export function Formula({ children }: { children: Part }): VNode {
  const box = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    // what can be scrolled must be reached with the keyboard
    const { scrollWidth, clientWidth } = box.current!;
    box.current!.tabIndex = scrollWidth > clientWidth ? 0 : -1;
  });
  return (
    <p class="formula" ref={box}>
      <math display="block">
        <mrow>{children}</mrow>
      </math>
    </p>
  );
}

export const I = ({ children }: { children: Part }): VNode => <mi>{children}</mi>;
export const T = ({ children }: { children: Part }): VNode => <mtext>{children}</mtext>;
export const O = ({ children }: { children: Part }): VNode => <mo>{children}</mo>;
/** A number; one that follows a sign can stand in parentheses. */
export const N = ({ value, digits = 6, wrap }: { value: number; digits?: number; wrap?: boolean }): VNode => {
  const text = fmt(value, digits);
  const number = <mn>{text.replace("−", "")}</mn>;
  if (!text.startsWith("−")) return number;
  return (
    <mrow>
      {wrap && <mo>(</mo>}
      <mo>−</mo>
      {number}
      {wrap && <mo>)</mo>}
    </mrow>
  );
};
/** A letter with letters as indices, such as "c,u,v": each is an element of its own, because several in one are upright. */
export const Sub = ({ base, index }: { base: Part; index: string }): VNode => (
  <msub>
    <mi>{base}</mi>
    <mrow>{index.split(/(,)/).map((text, i) => (text === "," ? <mo key={i}>,</mo> : <mi key={i}>{text}</mi>))}</mrow>
  </msub>
);
export const Frac = ({ over, under }: { over: Part; under: Part }): VNode => (
  <mfrac>
    <mrow>{over}</mrow>
    <mrow>{under}</mrow>
  </mfrac>
);
export const Sum = ({ over, children }: { over: Part; children: Part }): VNode => (
  <>
    <munder>
      <mo>∑</mo>
      <mrow>{over}</mrow>
    </munder>
    {children}
  </>
);
