"""`cnn explore --live`: the page, served on this machine, which sends what is drawn or dropped into it to the net."""

import argparse
import secrets
import socket
import warnings

import numpy as np

from cnn.cli.formatting import sample_shape_text
from cnn.cli.parser import Parser
from cnn.cli.predict_images import read_for_model
from cnn.cli.terminal import print_data, print_stderr
from cnn.core.interrupts import Interrupts
from cnn.explore import Page, pack_image, randomized
from cnn.explore.data import RANDOM_SEED
from cnn.explore.page import targets
from cnn.module import Array
from cnn.sequential import Sequential

TOKEN_BYTES = 16
DARK = 127.5  # mean brightness of a border, below which drawings are light on black


def add_arguments(parser: Parser) -> None:
    """Add the arguments of a page that is served."""
    live = "serve the page on this machine instead: what you draw, drop or paste into it goes through the net at once; "
    live += 'needs the extra live (pip install "cnn[live]")'
    parser.add_argument("--live", action="store_true", help=live)
    parser.add_argument("--port", type=int, metavar="N", help="of --live (default: a free one)")


def check(args: argparse.Namespace) -> None:
    """Check that the arguments fit together."""
    if args.live and args.out is not None:
        raise ValueError("argument --out: not with --live, which writes no file")
    if args.port is not None and not args.live:
        raise ValueError("argument --port: only with --live")
    if args.port is not None and not 0 < args.port < 2**16:
        raise ValueError(f"argument --port: expected a number from 1 to {2**16 - 1}, got {args.port}")


def listen(port: int | None, model: Sequential) -> socket.socket:
    """Return the socket for the server, before the page is made.

    Raises
    ------
    ValueError
        If the model takes no images, the extra is missing, or the port is taken.
    """
    shape = model.input_shape or ()
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model takes {sample_shape_text(shape)}, not images to draw: leave out --live")
    try:
        from cnn.explore import live
    except ImportError as error:
        raise ValueError(f'--live needs starlette and uvicorn: pip install "cnn[live]" ({error})') from None
    return live.listen(port)


def nothing_drawn(model: Sequential) -> tuple[Array, None, list[str], list[str]]:
    """Return an empty drawing area as the one image, to start without images: white if in colour, else black."""
    shape = model.input_shape or ()
    told = "No image was given: the numbers are those of an empty image. Draw one below, or drop, paste or choose one."
    return np.full((1, *shape), 0 if shape[0] == 1 else 255, np.uint8), None, ["nothing drawn yet"], [told]


def serve(page: Page, model: Sequential, x: Array, listener: socket.socket) -> int:
    """Print the address of the page, and answer its images until Ctrl-C."""
    from cnn.explore import live

    other, token = randomized(model, RANDOM_SEED), secrets.token_urlsafe(TOKEN_BYTES)
    absent = page.left_out["tensors"]

    def answer(data: bytes, name: str, label: int | None) -> bytes:
        image = read_for_model(name, model.input_shape or (), preprocessing=model.preprocessing, data=data)
        pixels = image.pixels[None]
        given, _ = targets(model, pixels, None if label is None else [label])
        entry, chunk = pack_image(model, other, pixels, None if given is None else given[0], name, absent)
        return live.packed({"image": entry, "note": image.reason if image.inverted else ""}, chunk)

    with Interrupts(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|cnn\.data\.images")  # about invalid metadata of images
        print_data(live.address(listener, token))
        print_stderr("open this address in a browser on this machine; Ctrl-C ends the server")
        live.serve(page.text, {"dark": _is_dark(x)}, listener, token, answer)
    return 0


def _is_dark(x: Array) -> bool:
    """Return whether the images have a dark border, as those of Fashion-MNIST."""
    edges = [x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]]
    return float(np.mean([edge.mean() for edge in edges])) < DARK
