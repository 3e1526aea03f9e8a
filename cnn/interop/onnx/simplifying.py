"""Steps that belong together become one layer, and those that change nothing are left out.

The rules are in patterns.py. Each looks back from a step at those that made its inputs.
"""

from collections import Counter
from collections.abc import Callable

from cnn.interop.onnx.parts import Layer, Shape, Step

NHWC_TO_NCHW = (0, 3, 1, 2)


class Net:
    """The steps so far, by the name of their output, in order.

    Attributes
    ----------
    steps : dict of str to Step
    alias : dict of str to str
        Of a value that is another one unchanged: which.
    channels_last : bool
        Whether the file's input has its channels last; the model takes them first, so the step that moves them is left
        out.
    sizes_are_known : bool
        Whether the shape of the input is that of all inputs, and no example.
    """

    def __init__(self, steps: list[Step], input: str, shape: Shape, outputs: list[str]) -> None:
        self.input, self.outputs = input, outputs
        self.steps: dict[str, Step] = {}
        self.alias: dict[str, str] = {}
        self.shapes = {input: shape} | {step.output: step.layer.shape for step in steps}
        self.readers = Counter(name for step in steps for name in step.inputs) + Counter(outputs)
        self.channels_last = False
        self.sizes_are_known = True

    def before(self, step: Step, i: int = 0) -> Step | None:
        """Return the step that makes an input of this one, if nothing else reads it."""
        name = step.inputs[i]
        return self.steps[name] if name in self.steps and self.readers[name] == 1 else None

    def chain(self, step: Step, *kinds: str) -> list[Step] | None:
        """Return the steps of these kinds, first to last, that end in this one, if nothing else reads between them."""
        found = [step]
        if step.layer.kind != kinds[-1]:
            return None
        for kind in kinds[-2::-1]:
            one = self.before(found[0])
            if one is None or one.layer.kind != kind:
                return None
            found.insert(0, one)
        return found

    def replace(self, parts: list[Step], layer: Layer, inputs: list[str]) -> Step:
        """Put one layer in place of several steps, of which the last makes the output."""
        last = parts[-1]
        for step in parts:
            self.drop(step)
        made = Step(max(parts, key=lambda step: bool(step.layer.tensors)).name, layer, inputs, last.output)
        self.add(made)
        return made

    def drop(self, step: Step) -> None:
        """Take a step out."""
        del self.steps[step.output]
        for name in step.inputs:
            self.readers[name] -= 1

    def add(self, step: Step) -> None:
        """Append a step that was taken out or is new."""
        self.steps[step.output] = step
        for name in step.inputs:
            self.readers[name] += 1

    def skip(self, step: Step) -> None:
        """Leave out a step that changes nothing."""
        self.drop(step)
        name = step.inputs[0]
        self.alias[step.output] = name
        self.readers[name] += self.readers.pop(step.output, 0)


Rule = Callable[[Net, Step], Step | bool | None]


def simplified(steps: list[Step], input: str, shape: Shape, outputs: list[str], rules: list[Rule]) -> Net:
    """Return the net after all rules. A rule returns the step that it has made, True if it left one out, or None."""
    net = Net(steps, input, shape, outputs)
    for original in steps:
        step: Step | None = Step(
            original.name, original.layer, [net.alias.get(name, name) for name in original.inputs], original.output
        )
        assert step is not None
        net.steps[step.output] = step
        while step is not None:
            step = next((found for rule in rules if (found := _applied(rule, net, step))), None)
            if step is not None and step.output not in net.steps:
                step = None
    net.outputs = [net.alias.get(name, name) for name in outputs]
    return net


def _applied(rule: Rule, net: Net, step: Step) -> Step | None:
    found = rule(net, step)
    return step if found is True else found or None
