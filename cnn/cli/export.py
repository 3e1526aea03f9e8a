"""`cnn export`: write a model as an ONNX file."""

import argparse
from pathlib import Path

from cnn.cli import model_arguments
from cnn.cli.formatting import sample_shape_text
from cnn.cli.parser import Parser, integer_at_least
from cnn.cli.terminal import print_stdout
from cnn.core.text import printable
from cnn.interop import onnx
from cnn.interop.onnx.saving import OPSETS

DESCRIPTION = "Write a model as an ONNX file, which other runtimes read."
EXAMPLE = """\
example:
  cnn export runs/fashion-mnist-1 shoes.onnx --preprocess
writes a file with one input, "input", (batch, 1, 28, 28) in float32, and one output, "output". With --preprocess the
file takes pixels of 0 to 255; without, inputs as in training: (scale pixel - mean) / std, with the numbers that
`cnn summary` prints. Its metadata hold the names of the classes and these numbers. Needs: pip install "cnn[onnx]"."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn export`."""
    model_arguments.add_arguments(parser)
    parser.add_argument("file", type=Path, metavar="FILE.onnx", help="the file to write; an old one is replaced")
    preprocess = "put the scaling of pixels into the file, so that it takes pixels of 0 to 255"
    parser.add_argument("--preprocess", action="store_true", help=preprocess)
    opset = f"version of ONNX's operators, {OPSETS[0]} to {OPSETS[1]} (default: the lowest that the layers need)"
    parser.add_argument("--opset", type=integer_at_least(OPSETS[0]), metavar="N", help=opset)


def check(args: argparse.Namespace) -> None:
    """Check the name of the file, and that the opset is not too new."""
    if args.file.suffix != ".onnx":
        raise ValueError(f"argument FILE.onnx: expected a name that ends in .onnx, got {str(args.file)!r}")
    if args.opset is not None and args.opset > OPSETS[1]:
        raise ValueError(f"argument --opset: expected an integer of at most {OPSETS[1]}, got '{args.opset}'")


def run(args: argparse.Namespace) -> int:
    """Write the file, print what it is, and return the exit status."""
    path = model_arguments.find_model(args.run)
    model = model_arguments.load_model(path)
    if model.input_shape is None:
        raise ValueError(
            f"{path} does not contain the shape of its inputs: set model.input_shape = (1, 28, 28) before save"
        )
    try:
        onnx.save(model, args.file, opset=args.opset, preprocess=args.preprocess)
    except ImportError as error:
        raise ValueError(str(error)) from error
    kind = "pixels of 0 to 255" if args.preprocess else "inputs as in training"
    size = args.file.stat().st_size
    print_stdout(
        f"{printable(args.file)}: {size / 1e6:.1f} MB, takes batches of {sample_shape_text(model.input_shape)}, {kind}"
    )
    return 0
