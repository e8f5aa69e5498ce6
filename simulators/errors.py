"""What a person gave us and we cannot use.

One class: the message names the file, the key, the value found and what is allowed.
"""


class InputError(ValueError):
    """A fault file, a recording or an option that cannot be used; nothing was started."""
