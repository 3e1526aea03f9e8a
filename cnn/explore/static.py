"""What a page shows in a browser without JavaScript: the images, and a table of the most likely classes of each."""

import base64
import html
import io
from typing import Any

import numpy as np

from cnn.module import Array

CLASSES_SHOWN = 5
SIDE = 112  # pixels of an image on the page


def static_part(header: dict[str, Any], x: Array) -> str:
    """Return the HTML for the images in a header of `pack`, whose pixels or inputs are in x."""
    return "\n".join(_figure(image, header["model"]["classes"], x[i]) for i, image in enumerate(header["images"]))


def _figure(image: dict[str, Any], classes: list[str] | None, x: Array) -> str:
    name = html.escape(image["name"])
    picture = ""
    if x.ndim == 3 and len(x) in (1, 3) and x.dtype == np.uint8:
        picture = f'<img alt="{name}" width="{SIDE}" src="data:image/png;base64,{_png(x)}">'
    label = image["label"]
    true = f", true class {html.escape(_class(classes, label))}" if isinstance(label, int) else ""
    rows = ""
    if image["probabilities"] is not None:
        p = np.asarray(image["probabilities"])
        for k in np.argsort(-p, kind="stable")[:CLASSES_SHOWN]:
            rows += f"<tr><th scope='row'>{html.escape(_class(classes, int(k)))}</th><td>{p[k]:.4f}</td></tr>"
        rows = f"<table><tr><th scope='col'>class</th><th scope='col'>probability</th></tr>{rows}</table>"
    return f"<figure>{picture}<figcaption>{name}{true}</figcaption>{rows}</figure>"


def _class(classes: list[str] | None, k: int) -> str:
    return classes[k] if classes is not None and k < len(classes) else f"class {k}"


def _png(pixels: Array) -> str:
    from PIL import Image

    shown = pixels.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(shown[:, :, 0] if shown.shape[2] == 1 else shown).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()
