// An image as it was given, drawn pixel by pixel; points have no picture.
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { header, pixelsOf, type Pixels } from "./data";

function paint(canvas: HTMLCanvasElement, { data, shape }: Pixels): void {
  const [channels = 1, rows = 1, columns = 1] = shape;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, rows);
  const size = rows * columns;
  for (let k = 0; k < size; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = data[channels === 3 ? c * size + k : k]!;
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

export const isPicture = (shape: number[]): boolean => shape.length === 3 && (shape[0] === 1 || shape[0] === 3);

interface DrawingProps {
  pixels: Pixels | null;
  /** Of the pixels, which may come later, so that the place for them has its height. */
  shape: number[];
  name: string;
  size: number;
}

export function Drawing({ pixels, shape, name, size }: DrawingProps): VNode {
  const [, rows, columns] = shape;
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (pixels && canvas.current) paint(canvas.current, pixels);
  }, [pixels]);
  return (
    <canvas
      ref={canvas}
      class="picture"
      width={columns}
      height={rows}
      role="img"
      aria-label={name}
      style={{ width: `${size}px` }}
    />
  );
}

export function Picture({ index, size }: { index: number; size: number }): VNode | null {
  const [pixels, setPixels] = useState<Pixels | null>(null);
  const entry = header.images[index]!;
  useEffect(() => {
    let stale = false;
    void pixelsOf(index).then((found) => !stale && setPixels(found));
    return () => void (stale = true);
  }, [entry]);
  const { pixels: place, name } = entry;
  return place && isPicture(place.shape) ? (
    <Drawing pixels={pixels} shape={place.shape} name={name} size={size} />
  ) : null;
}
