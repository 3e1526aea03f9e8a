"""Where in the arguments of a kernel of convolution each number and address is."""

# What a convolution is made of
(N, C, H, W, K, OH, OW, KH, KW, SH, SW, DH, DW, TOP, LEFT, GROUPS) = range(16)
# the padded image, the padded gradient, and the rim around that; places of runs in the one and in the other
(HP, WP, GH, GW, GTOP, GLEFT, RUNS, G_RUNS) = range(16, 24)
# a pool behind it, and ReLU
(PH, PW, POOL, RELU) = range(24, 28)  # POOL: where size, stride, dilation and padding are, 0 without one
# arrays
(X, WEIGHT, BIAS_VECTOR, Y, CHOICE, MEANS, SQUARES) = range(28, 35)
(GRAD, OUTPUT, CENTER, SCALE, SHIFT, OF_GRAD, OF_OUTPUT, CONSTANT, X_GRAD, W_GRAD, SUMS) = range(35, 46)
(SCRATCH, SCRATCH_SIZE, PARTS, BANDS) = range(46, 50)  # BANDS: into which an image is cut, if there are few
# for Winograd's convolution: tiles down and across in an image of results, and of pixels; images at a time
(DOWN, ACROSS, X_DOWN, X_ACROSS, SOME) = range(50, 55)
NARROW = 55  # whether the input has few channels, see narrow_input_grad in convolution_input_grad.py
COUNT = 56
