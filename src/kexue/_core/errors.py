"""The one exception that tells a caller's mistake from a failure of ours."""


class InputError(ValueError):
    """What was given cannot be worked on; the message says what is allowed and what to do.

    A ``ValueError``, so that callers who know scikit-learn need not know it. The command
    line turns it into exit code 2, everything unforeseen into exit code 1.
    """
