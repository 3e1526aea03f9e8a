// A page that is served by `cnn explore --live`: an area to draw, and images that are dropped, pasted or chosen.
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { className, given, header, nodeOf, sampleOf, setImage } from "./data";
import { percent } from "./numbers";
import { linesOf } from "./outputs";
import { Pad } from "./pad";
import { go } from "./state";
import type { ImageEntry } from "./types";

interface Settings {
  /** Bytes of the largest image that the server reads. */
  limit: number;
  /** Whether the images that the page came with are light on dark. */
  dark: boolean;
}

export const live: Settings | null = JSON.parse(document.getElementById("app")!.dataset["live"] ?? "null");

const MOST = 20;
const MEMORY = 200e6; // bytes of all numbers of the user's images
const NAMED = 3;
const LONG = 2000; // milliseconds

/** An image of the user, and its place in header.images, once the net has computed it. */
interface Own {
  name: string;
  blob: Blob;
  label: number | null;
  place: number | null;
}

interface Answer {
  own: Own;
  image: ImageEntry;
  note: string;
  deflated: Uint8Array<ArrayBuffer>;
  milliseconds: number;
}

/** The user's images by their places: the newest takes the place of the oldest. */
const owns = new Map<number, Own>();
let count = 0;
let most = MOST;

/** Have the net compute an image. */
async function ask(own: Own, limit: number): Promise<Answer> {
  const { name, blob, label } = own;
  const start = performance.now();
  const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;
  if (blob.size > limit) {
    throw new Error(
      `${name} has ${megabytes(blob.size)}, and at most ${megabytes(limit)} can be sent: make it smaller.`,
    );
  }
  const body = await blob.arrayBuffer().catch(() => {
    throw new Error(`${name} cannot be read: drop or choose a file that is an image.`);
  });
  const query = new URLSearchParams({ name, ...(label === null ? {} : { label: String(label) }) });
  const response = await fetch(`images?${query}`, { method: "POST", body }).catch(() => {
    throw new Error(
      "cnn does not answer. If its command has ended, start it again, and open the address that it prints.",
    );
  });
  if (!response.ok) throw new Error(await response.text());
  const answer = await response.arrayBuffer();
  const length = new DataView(answer).getUint32(0, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(answer, 4, length)));
  return { own, ...about, deflated: new Uint8Array(answer, 4 + length), milliseconds: performance.now() - start };
}

/** Put an image among those of the page, and return its place. */
function keep(own: Own, { image, deflated }: Answer): number {
  if (count === 0) most = Math.max(2, Math.min(MOST, Math.floor(MEMORY / deflated.length)));
  own.place ??= given + (count++ % most);
  owns.set(own.place, own);
  setImage(own.place, image, deflated);
  return own.place;
}

/** What the net says of an image, the most important first. */
async function says({ own, image }: Answer): Promise<string[]> {
  const p = image.probabilities;
  if (!p)
    return (linesOf(await sampleOf(own.place!)) ?? []).slice(0, NAMED).map(({ name, text }) => `${name}: ${text}`);
  const order = p.map((_, k) => k).sort((a, b) => p[b]! - p[a]!);
  return order.slice(0, NAMED).map((k) => `${className(k)} ${percent(p[k]!)}`);
}

/** That the net computes, and, if one waits for it, how long that takes. */
const computing = (last: Answer | null): string =>
  `The net computes every number …${last && last.milliseconds > LONG ? ` The last image took ${Math.round(last.milliseconds / 1000)} s.` : ""}`;

function Told({ answer, said, waits }: { answer: Answer; said: string[]; waits: boolean }): VNode {
  const { image, note, milliseconds } = answer;
  const [first, ...rest] = said;
  return (
    <>
      <strong>{first ?? "Its numbers are below"}</strong>
      {rest.length > 0 && <span>{rest.join(", ")}</span>}
      <small>
        {waits ? computing(answer) : `${image.name}, in ${Math.round(milliseconds)} ms. ${note && `It was ${note}.`}`}
      </small>
    </>
  );
}

/** The true class of one of the user's images; without it the loss is that of the predicted class. */
function TrueClass({ image, onChange }: { image: ImageEntry; onChange: (label: number | null) => void }): VNode {
  return (
    <label>
      True class of {image.name}, for its loss and gradients{" "}
      <select
        value={typeof image.label === "number" ? String(image.label) : ""}
        onChange={({ currentTarget: { value } }) => onChange(value === "" ? null : Number(value))}
      >
        <option value="">not known: as the net says</option>
        {image.probabilities!.map((_, k) => (
          <option key={k} value={k}>
            {className(k)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Have a function called for the files that are dropped on the page or pasted into it, and say if there are none. */
function useFiles(take: (files: FileList, pasted: boolean) => void, refuse: (text: string) => void): boolean {
  const [over, setOver] = useState(false);
  const latest = useRef({ take, refuse });
  latest.current = { take, refuse };
  useEffect(() => {
    const stop = new AbortController();
    const on = <K extends keyof DocumentEventMap>(kind: K, listener: (event: DocumentEventMap[K]) => void): void =>
      document.addEventListener(kind, listener, { signal: stop.signal });
    on("dragover", (event) => {
      event.preventDefault();
      setOver(true);
    });
    on("dragleave", (event) => event.relatedTarget === null && setOver(false));
    on("drop", (event) => {
      event.preventDefault();
      setOver(false);
      const files = event.dataTransfer?.files;
      if (files?.length) latest.current.take(files, false);
      else latest.current.refuse("That was not a file: save the image first, and drop its file.");
    });
    on("paste", (event) => {
      if (event.target instanceof HTMLInputElement) return;
      const files = event.clipboardData?.files;
      if (files?.length) latest.current.take(files, true);
      else latest.current.refuse("There is no image in the clipboard: copy one, or choose its file.");
    });
    return () => stop.abort();
  }, []);
  return over;
}

export function Live({ image: shown, about }: { image: number; about: Settings }): VNode {
  const [answer, setAnswer] = useState<{ answer: Answer; said: string[] } | null>(null);
  const last = useRef<Answer | null>(null);
  const [faults, setFaults] = useState<string[]>([]);
  const [waiting, setWaiting] = useState(0);
  const queue = useRef(Promise.resolve());
  const drawing = useRef<Own | null>(null);
  const numbers = useRef({ drawing: 0, pasted: 0 });
  const file = useRef<HTMLInputElement>(null);

  /** One image after the other; of a drawing that goes on only the last state. */
  const send = (own: Own): void => {
    const { blob, label } = own;
    setFaults([]);
    setWaiting((n) => n + 1);
    queue.current = queue.current.then(async () => {
      try {
        if (own.blob === blob && own.label === label) {
          const found = await ask(own, about.limit);
          last.current = found;
          const image = keep(own, found);
          setAnswer({ answer: found, said: await says(found) });
          go({ image });
        }
      } catch (error) {
        setAnswer((shown) => (shown?.answer.own === own ? null : shown)); // that of another file stays
        setFaults((others) => [...others, error instanceof Error ? error.message : String(error)]);
      }
      setWaiting((n) => n - 1);
    });
  };

  const sendFiles = (files: FileList, pasted = false): void => {
    drawing.current = null; // what is drawn next is another image
    setAnswer(null);
    for (const blob of [...files].slice(0, most)) {
      send({ name: pasted ? `pasted image ${++numbers.current.pasted}` : blob.name, blob, label: null, place: null });
    }
  };

  const sendDrawing = (blob: Blob): void => {
    drawing.current ??= { name: `drawing ${++numbers.current.drawing}`, blob, label: null, place: null };
    drawing.current.blob = blob;
    send(drawing.current);
  };

  const over = useFiles(sendFiles, (text) => setFaults([text]));
  const own = owns.get(shown);
  const hasClasses = header.model.loss === "cross-entropy" && header.images[shown]!.probabilities !== null;
  return (
    <div class={over ? "live over" : "live"}>
      <h3>Try an image of yours</h3>
      <Pad
        shape={nodeOf("input")!.shape}
        dark={about.dark}
        onDrawn={sendDrawing}
        onClear={() => void (drawing.current = null)}
      >
        <p class="answer" role="status">
          {faults.map((text) => (
            <span class="fault" key={text}>
              {text}
            </span>
          ))}
          {answer && <Told {...answer} waits={waiting > 0} />}
          {!answer && waiting > 0 && computing(last.current)}
          {!answer && waiting === 0 && faults.length === 0 && "Draw something: the answer of the net appears here."}
        </p>
        <p>
          <button type="button" onClick={() => file.current!.click()}>
            Choose a file …
          </button>{" "}
          or drop one anywhere on this page, or paste one.
          <input
            ref={file}
            type="file"
            accept="image/*"
            multiple
            hidden
            onChange={({ currentTarget }) => {
              if (currentTarget.files) sendFiles(currentTarget.files);
              currentTarget.value = ""; // so that the same file can be chosen again
            }}
          />
        </p>
        {own && hasClasses && (
          <TrueClass
            image={header.images[shown]!}
            onChange={(label) => {
              own.label = label;
              send(own);
            }}
          />
        )}
        <p class="hint">
          Images go to cnn on this computer and nowhere else, and are forgotten when this page is closed or loaded
          again.{" "}
          {count > most ? `Only your last ${most} are kept: the oldest were dropped.` : `Your last ${most} are kept.`}
        </p>
      </Pad>
    </div>
  );
}
