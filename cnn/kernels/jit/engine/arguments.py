"""The index of each number and address in the arguments of the convolution kernels."""

# the shape of a convolution
(N, C, H, W, K, OH, OW, KH, KW, SH, SW, DH, DW, TOP, LEFT, GROUPS) = range(16)
# size of the padded image; size of the padded gradient, and its top and left padding; addresses of the offsets of runs
# in the padded image and in the padded gradient
(HP, WP, GH, GW, GTOP, GLEFT, RUNS, G_RUNS) = range(16, 24)
# a pool after it, and the activation: 0 none, 1 ReLU, 6 ReLU6, after which no pool follows here
(PH, PW, POOL, RELU) = range(24, 28)  # POOL: address of the window geometry (shapes.pool_geometry), 0 without a pool
# addresses of arrays
(X, WEIGHT, BIAS_VECTOR, Y, CHOICE, MEANS, SQUARES) = range(28, 35)
(GRAD, OUTPUT, CENTER, SCALE, SHIFT, GRAD_FACTOR, OUTPUT_FACTOR, CONSTANT, X_GRAD, W_GRAD, SUMS) = range(35, 46)
# BANDS: number of bands of rows that each image is cut into, if there are few images
(SCRATCH, SCRATCH_SIZE, PARTS, BANDS) = range(46, 50)
# for the Winograd algorithm: rows and columns of tiles in the output, and in the input's gradient; images at a time
(TILE_ROWS, TILE_COLUMNS, X_TILE_ROWS, X_TILE_COLUMNS, CHUNK_IMAGES) = range(50, 55)
NARROW = 55  # whether the input has few channels, see narrow_input_grad in convolution_input_grad.py
# whether each image is uneven, a byte, see image_ops.is_uneven; and, written by the kernel, whether any is
(UNEVEN, ANY_UNEVEN) = (56, 57)
BY_CHANNELS = 58  # whether the bands are of output channels, not of rows
COUNT = 59
