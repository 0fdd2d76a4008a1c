"""What an interrupted prepare has finished: the next one does only the rest."""

import json
from pathlib import Path

from dn3dlib.data.manifest import to_sequence
from dn3dlib.files import write_bytes

JOURNAL = "journal.jsonl"


class Journal:
    """One line for the settings, then one for each video whose records are on the disk, in the order of writing."""

    def __init__(self, folder: Path, settings: dict, wanted: dict[str, dict]):
        """Read the journal in `folder`; begin anew where it is of other settings or of videos that have changed.

        Args:
            folder: the working folder.
            settings: all that decides, beside the videos, what is written; plain JSON.
            wanted: file → what is known of it (see `manifest.DataSet.videos`), of every video to be prepared.
        """
        self._path = folder / JOURNAL
        settings = json.loads(json.dumps(settings))  # tuples become lists
        first, *rest = _whole_lines(self._path) or [None]
        if first != settings or any(wanted.get(row["video"]["file"]) != row["video"] for row in rest):
            rest = []
        self.outcomes = [row | {"sequences": [to_sequence(s) for s in row["sequences"]]} for row in rest]
        write_bytes(self._path, "".join(json.dumps(row) + "\n" for row in [settings, *rest]).encode())

    def add(self, outcome: dict) -> None:
        """Note that a video is done, after its records have left the process."""
        self.outcomes.append(outcome)
        row = outcome | {"sequences": [sequence.to_dict() for sequence in outcome["sequences"]]}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _whole_lines(path: Path) -> list[dict]:
    """The lines before the first that a kill or a power cut has torn."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
