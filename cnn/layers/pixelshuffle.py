"""PixelShuffle: channels become pixels."""

from cnn.core.checks import check_grad, check_images, check_input, integer
from cnn.errors import ShapeError
from cnn.module import Array, Module


def pixel_shuffle(x: Array, r: int) -> Array:
    """Rearrange every r² channels into r x r pixels: (N, C r², H, W) -> (N, C, r H, r W)."""
    n, k, h, w = x.shape
    x = x.transpose(0, 2, 3, 1).reshape(n, h, w, k // r**2, r, r).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, h * r, w * r, k // r**2).transpose(0, 3, 1, 2)


def pixel_unshuffle(y: Array, r: int) -> Array:
    """Rearrange every r x r pixels into r² channels: (N, C, r H, r W) -> (N, C r², H, W)."""
    n, c, oh, ow = y.shape
    y = y.transpose(0, 2, 3, 1).reshape(n, oh // r, r, ow // r, r, c).transpose(0, 1, 3, 5, 2, 4)
    return y.reshape(n, oh // r, ow // r, c * r**2).transpose(0, 3, 1, 2)


class PixelShuffle(Module):
    """Rearrange groups of channels into pixels: a convolution before it computes the finer image at coarse resolution.

    y[n, c, r i + u, r j + v] = x[n, c r² + r u + v, i, j],  r = upscale_factor

    Values are only moved, so the gradient is moved back in the same way.

    Parameters
    ----------
    upscale_factor : int
        How much taller and wider the image becomes. The number of channels must be divisible by its square.

    Shape
    -----
    (N, C, H, W) -> (N, K, OH, OW), K = C / r², OH = r H, OW = r W.

    Raises
    ------
    ShapeError
        If the number of channels is not divisible by the square of ``upscale_factor``.

    Source
    ------
    Shi et al. 2016, Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    network, arXiv 1609.05158, equation 4; the order of the channels is that of torch.nn.PixelShuffle.

    Examples
    --------
    >>> import numpy as np
    >>> PixelShuffle(2)(np.array([1, 2, 3, 4], np.float32).reshape(1, 4, 1, 1))
    array([[[[1., 2.],
             [3., 4.]]]], dtype=float32)
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = integer(upscale_factor, "upscale_factor", 1)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, K, OH, OW)"""
        x = check_input(x)
        check_images(x)
        if x.shape[1] % self.upscale_factor**2:
            raise ShapeError(
                f"upscale_factor={self.upscale_factor} needs a number of channels divisible by "
                f"{self.upscale_factor**2}, got {x.shape}: change the out_channels of the layer before it"
            )
        y = pixel_shuffle(x, self.upscale_factor)
        self.save_for_backward(y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, K, OH, OW) -> (N, C, H, W)"""
        check_grad(self, grad, *self.saved())
        return pixel_unshuffle(grad, self.upscale_factor)
