"""What can go wrong in a way that the user can mend: one plain sentence each, never a traceback."""


class Dn3dError(Exception):
    """Something in the user's input or surroundings is wrong; the message says what, where, why and what to do."""


class ConfigError(Dn3dError):
    """A parameter has an impossible value, or there is no parameter of that name."""


class VideoError(Dn3dError):
    """A video cannot be read as asked.

    `reason` is the short form for tables: missing, empty, no video stream, … (`dn3dlib.data.judgement` lists them).
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):  # errors cross process borders in `prepare` and `scan`
        return type(self), (self.args[0], self.reason)


class DataError(Dn3dError):
    """A catalog or a prepared data set is incomplete, inconsistent, damaged or leaking."""


class RunError(Dn3dError):
    """A run folder or a training cannot go on: another configuration, another data set, a diverged loss."""
