"""Memory that what a file claims may take."""


class Budget:
    """Bytes that are left to what is built of a file, counted before they are taken."""

    def __init__(self, bytes_left: int) -> None:
        self._left = bytes_left

    def take(self, nbytes: int) -> None:
        """Counts bytes that will be taken.

        Raises:
          ValueError: there are fewer left.
        """
        self._left -= nbytes
        if self._left < 0:
            raise ValueError("it would take far more memory than its size")
