// A square to draw on, with the proportions of the images that the net reads.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

const SIDE = 280; // pixels, at least
const WIDTHS = { min: 2, max: 20, start: 8 }; // of the pen, in percent of the side

interface Props {
  /** Channels, rows and columns of an image. */
  shape: number[];
  /** Whether to draw light on dark at the start. */
  dark: boolean;
  onDrawn: (image: Blob) => void;
  onClear: () => void;
  children: ComponentChildren;
}

interface Point {
  x: number;
  y: number;
}

export function Pad({ shape, dark: startsDark, onDrawn, onClear, children }: Props): VNode {
  const [channels = 1, rows = 1, columns = 1] = shape;
  const zoom = Math.max(1, Math.round(SIDE / Math.max(rows, columns)));
  const [width, height] = [columns * zoom, rows * zoom];
  const canvas = useRef<HTMLCanvasElement>(null);
  const [dark, setDark] = useState(startsDark);
  const [percent, setPercent] = useState(WIDTHS.start);
  const [colour, setColour] = useState("");
  const last = useRef<Point | null>(null);
  const isDrawn = useRef(false);
  const context = (): CanvasRenderingContext2D => canvas.current!.getContext("2d")!;

  const wipe = (): void => {
    context().fillStyle = dark ? "#000" : "#fff";
    context().fillRect(0, 0, width, height);
    isDrawn.current = false;
  };
  useEffect(wipe, [width, height]);

  const send = (): void => {
    if (isDrawn.current) canvas.current!.toBlob((blob) => blob && onDrawn(blob));
  };

  const swap = (): void => {
    const to = context();
    to.globalCompositeOperation = "difference"; // from white: the negative
    to.fillStyle = "#fff";
    to.fillRect(0, 0, width, height);
    to.globalCompositeOperation = "source-over";
    setDark(!dark);
    send();
  };

  const lineTo = (event: PointerEvent): void => {
    const box = canvas.current!.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    const from = last.current ?? { x, y };
    const to = context();
    to.strokeStyle = colour || (dark ? "#fff" : "#000");
    to.lineWidth = (percent / 100) * Math.max(width, height);
    to.lineCap = to.lineJoin = "round";
    to.beginPath();
    to.moveTo(from.x, from.y);
    to.lineTo(x, y);
    to.stroke();
    last.current = { x, y };
    isDrawn.current = true;
  };

  const down = (event: PointerEvent): void => {
    if (event.button !== 0 || !event.isPrimary) return;
    canvas.current!.setPointerCapture(event.pointerId);
    lineTo(event);
  };
  const move = (event: PointerEvent): void => {
    if (last.current) for (const each of event.getCoalescedEvents?.() ?? [event]) lineTo(each);
  };
  const up = (): void => {
    if (last.current) send();
    last.current = null;
  };

  return (
    <div class="columns">
      <div class="board">
        <canvas
          ref={canvas}
          class="pad"
          width={width}
          height={height}
          role="img"
          aria-label="Drawing area, for a mouse, a pen or a finger. With the keyboard choose a file instead."
          onPointerDown={down}
          onPointerMove={move}
          onPointerUp={up}
          onPointerCancel={up}
        />
        <div class="under">
          <button
            type="button"
            onClick={() => {
              wipe();
              onClear();
            }}
          >
            Clear
          </button>
          <button type="button" onClick={swap}>
            {dark ? "Black on white" : "White on black"}
          </button>
        </div>
        <div class="under">
          <label>
            Pen{" "}
            <input
              type="range"
              min={WIDTHS.min}
              max={WIDTHS.max}
              value={percent}
              aria-label="Width of the pen"
              aria-valuetext={`${percent} % of the side`}
              onInput={({ currentTarget }) => setPercent(Number(currentTarget.value))}
            />
          </label>
          {channels === 3 && (
            <input
              type="color"
              aria-label="Colour of the pen"
              value={colour || (dark ? "#ffffff" : "#000000")}
              onInput={({ currentTarget }) => setColour(currentTarget.value)}
            />
          )}
        </div>
      </div>
      <div class="beside">{children}</div>
    </div>
  );
}
