"""The errors and warnings about data sets."""


class DataError(OSError):
    """A data set is missing, damaged or cannot be downloaded; the message names the file and what to do.

    A subclass of OSError: like a missing file, it is not a mistake in the calling code.

    Examples
    --------
    >>> from cnn.data import DataError
    >>> issubclass(DataError, OSError)
    True
    """


class DataWarning(UserWarning):
    """A damaged copy of a data set was skipped in favour of a good one, or a given folder contains no copy.

    Examples
    --------
    >>> from cnn.data import DataWarning
    >>> issubclass(DataWarning, UserWarning)
    True
    """
