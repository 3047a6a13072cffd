"""TensorBoard's event files, written by the thread that has something to say.

`tensorboardX.SummaryWriter` hands events to a thread of its own. Where the disk is full that thread
ends, and whoever adds ten more events waits for it forever.
"""

import time
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import image, scalar

_FLUSH_SECONDS = 60.0  # at most, between one event's flush and the next


class Events:
    """One file of events, whose methods raise OSError where it cannot be written."""

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        """Opens a file in a folder; events of `purge_step` and later in older files are void."""
        folder.mkdir(exist_ok=True)
        # Absolute, since tensorboardX takes a relative path that begins with "s3:" for a bucket.
        self._writer = EventsWriter(str(folder.absolute() / "events"))
        self._flushed = time.monotonic()
        self._write(Event(step=purge_step, file_version="brain.Event:2"))
        self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Records numbers by their names."""
        for name, value in values.items():
            self._write(Event(step=step, summary=scalar(name, value)))

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Records a uint8 `H W 3` picture."""
        self._write(Event(step=step, summary=image(name, picture, dataformats="HWC")))

    def close(self) -> None:
        """Writes what is left and closes the file."""
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()
