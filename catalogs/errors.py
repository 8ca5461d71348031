"""The one error that is the user's to mend."""


class InputError(ValueError):
    """What the user gave cannot be used.

    Its text is one sentence that says where, what, what was found instead, and what to do. The command
    line prints it alone and exits with 2; nothing was lost, and nothing was half done.
    """
