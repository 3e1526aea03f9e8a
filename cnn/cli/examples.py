"""What the end of each --help shows."""

ALL = """\
example, from nothing to the class of a photograph:
  cnn train fashion-mnist
  cnn evaluate runs/fashion-mnist-1
  cnn predict runs/fashion-mnist-1 shoe.jpg

example, without any training:
  cnn predict --model fashion shoe.jpg

example, with images of your own in flowers/rose, flowers/tulip, ...:
  cnn train flowers
  cnn predict runs/flowers-1 unknown.jpg

exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted"""

TRAIN = """\
example:
  cnn train fashion-mnist --epochs 8 --seed 1 --out runs/mine
  cnn train fashion-mnist --recipe best
trains small-cnn (a recipe: fashion-cnn, longer and with changed images), prints the metrics of each epoch and the
test accuracy, and leaves in runs/mine:
  config.json        the settings and the result
  history.jsonl      the metrics of each epoch, a line each
  model.safetensors  the model; all that predicting needs
  curves.png, confusion.png, mistakes.png (for the spiral: boundary.png)

images of your own:
  cnn train flowers
where the folder flowers has a folder for each class, as flowers/rose/1.jpg and flowers/tulip/a.png. A fifth of each
class is held out to test with, or put them into flowers/train, flowers/val and flowers/test yourself, with the folders
of the classes in each. JPEG, PNG, GIF, BMP, TIFF and WebP of any size are turned upright and scaled to 64 x 64 pixels;
files that cannot be read are named and passed over. 50 images a class are few, 200 are good.
Names of data sets come first: a folder that is called mnist is ./mnist.

Ctrl-C stops after the step at hand and saves the run so far.
NO_PROGRESS=1 gives plain lines in place of the bar, NO_COLOR=1 a bar without colours."""

EVALUATE = """\
example:
  cnn evaluate runs/fashion-mnist-1
prints, with digits in place of the letters,
  runs/fashion-mnist-1/model.safetensors on Fashion-MNIST, 10,000 test images
  loss      0.xxxx
  accuracy  0.yyyy  (y,yyy of 10,000 right)
--data FOLDER measures a model of your own images on others, in folders with the same names."""

PREDICT = """\
example, with the trained net that comes with the library, which knows the clothes of Fashion-MNIST:
  cnn predict --model fashion shoe.jpg

example:
  cnn predict runs/fashion-mnist-1 shoe.jpg --top 2 --show-input seen.png
prints, with digits in place of the letters,
  shoe.jpg  (640 x 480 pixels, inverted: its border is light, nnn of 255)
     xx.x %  Sneaker
      y.y %  Ankle boot
and writes what the net saw, enlarged, to seen.png. MNIST and Fashion-MNIST show light things on black; a photograph
of a dark thing on white must be inverted first, which --invert auto decides by the brightness of its border. A model
of your own images sees each as it saw those in training.
Best is an image that one thing fills, on an even ground."""

SUMMARY = """\
example:
  cnn summary runs/fashion-mnist-1
prints how the model was trained, its classes, and a table of its layers with their output shapes, parameters,
multiply-adds and memory."""

DATA = """\
example:
  cnn data fashion-mnist
prints title, source, licence, citation, the folder of the files and the classes. The data set is looked for in the
folder that the environment variable CNN_DATA names, in the Debian package's, in the user's cache, and is downloaded
only if it is in none. CNN_OFFLINE=1 forbids that."""

VERIFY = """\
example:
  cnn verify conv2d adam
prints a table: how many checks of Conv2d and Adam passed against finite differences, PyTorch and the vectors that ONNX
publishes, and the worst error of each; then the score. Without names it checks everything, in less than a minute, and
says how many of ONNX's vectors were left out and why. PyTorch and ONNX are used if they are installed:
  pip install torch onnx==1.22.0

exit status: 0 all passed, 1 something failed, 2 an unknown class"""

BENCH = """\
example:
  cnn bench train --plot speed.png
trains eight nets on random batches, in turn with PyTorch, and prints for each the median milliseconds of a step, ours
by PyTorch's, the quartiles of that ratio from turn to turn, how near it comes to the machine's own rate of matrix
products, and the memory; then the metrics that the library wants to reach. It takes about four minutes; "all" eight.

suites: all, train, inference, layers (40 layers drawn from the zoo), memory; a net, such as resnet20; or a class of
layers, such as conv2d. Let nothing else run meanwhile: it is told if something does.

Each case is run in turn, warm, with as many threads in both: this library, PyTorch with contiguous memory, PyTorch
with channels_last memory, of which the faster one counts; without gradients in inference, and with the same weights.
Before, all must have computed the same."""
