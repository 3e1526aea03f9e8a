// Which class is taken for which; a number opens images.
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { className, header, mistakePixels, SAMPLE, type Pixels } from "./data";
import { whole } from "./numbers";
import { Drawing } from "./picture";
import { fragment } from "./state";
import { Scroll } from "./table";

interface Pair {
  label: number;
  predicted: number;
}

const isPair =
  ({ label, predicted }: Pair) =>
  (one: { label: unknown; predicted: number | null }): boolean =>
    one.label === label && one.predicted === predicted;

/** The images of the page of this true class and this answer, and some that are not in the gallery. */
function Examples({ pair }: { pair: Pair }): VNode {
  const [pixels, setPixels] = useState<Pixels[]>([]);
  useEffect(() => {
    const places = header.page.mistakes.find(isPair(pair))?.images ?? [];
    void mistakePixels(places).then(setPixels);
  }, [pair]);
  const counted = header.page.confusion![pair.label]![pair.predicted]!;
  const shown = header.images.map((image, i) => ({ ...image, i })).filter(isPair(pair));
  const what = `${className(pair.label)} taken for ${className(pair.predicted)}`;
  return (
    <div aria-live="polite">
      <p>
        {whole(counted)} of {what}.
        {pixels.length > 0 && pixels.length < counted ? ` These are ${pixels.length} of them.` : ""}
      </p>
      <div class="columns">
        {pixels.map((one, i) => (
          <Drawing key={i} pixels={one} shape={one.shape} name={what} size={84} />
        ))}
      </div>
      {shown.length > 0 && (
        <p>
          On this page with all its numbers:{" "}
          {shown.map(({ i, name }) => (
            <a key={i} href={fragment({ image: i, section: "predict" })}>
              {name}{" "}
            </a>
          ))}
        </p>
      )}
    </div>
  );
}

/** Rows are the true classes, columns what the net says. */
export function Confusion(): VNode | null {
  const [pair, setPair] = useState<Pair | null>(null);
  const counts = header.page.confusion;
  if (!counts) return null;
  const most = Math.max(1, ...counts.map((row, i) => Math.max(...row.map((n, j) => (i === j ? 0 : n)))));
  const opens = (one: Pair): boolean => header.page.mistakes.some(isPair(one)) || header.images.some(isPair(one));
  return (
    <>
      <h3 id="confusion" tabIndex={-1}>
        Which class is taken for which
      </h3>
      <p>
        A row for each true class, a column for each class that the net says. An underlined number opens {SAMPLE}s. The
        stronger the colour, the more mistakes.
      </p>
      <Scroll label="Which class is taken for which">
        <table class="numbers confusion">
          <thead>
            <tr>
              <th scope="col">true class</th>
              {counts.map((_, k) => (
                <th scope="col" key={k}>
                  {className(k)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {counts.map((row, label) => (
              <tr key={label}>
                <th scope="row">{className(label)}</th>
                {row.map((n, predicted) => {
                  const one = { label, predicted };
                  const level = label === predicted ? "right" : n ? `mistake m${Math.ceil((4 * n) / most)}` : undefined;
                  const name = `${n} of ${className(label)} taken for ${className(predicted)}`;
                  const isOpen = pair !== null && isPair(pair)(one);
                  return (
                    <td key={predicted} class={level}>
                      {n && opens(one) ? (
                        <button
                          type="button"
                          class="quiet"
                          aria-label={name}
                          aria-expanded={isOpen}
                          onClick={() => setPair(isOpen ? null : one)}
                        >
                          {whole(n)}
                        </button>
                      ) : (
                        whole(n)
                      )}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {pair && <Examples pair={pair} />}
    </>
  );
}
