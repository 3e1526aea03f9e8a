"""What can be wrong with a data set, told to a person."""


class DataError(OSError):
    """A data set is missing, damaged or cannot be downloaded; the message names the file and what to do.

    A subclass of OSError: like a file that is not there, it is nothing that the calling code did wrong.

    Examples
    --------
    >>> from cnn.data import DataError
    >>> issubclass(DataError, OSError)
    True
    """


class DataWarning(UserWarning):
    """A damaged copy of a data set was passed over for a good one, or a place that was named holds no copy.

    Examples
    --------
    >>> from cnn.data import DataWarning
    >>> issubclass(DataWarning, UserWarning)
    True
    """
