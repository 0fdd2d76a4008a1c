"""The page of results says of each row of the thesis what the presets say."""

import re
from pathlib import Path

from dn3dlib.presets import PRESETS

PAGE = Path(__file__).resolve().parents[1] / "data" / "RESULTS.md"


def test_each_row_of_the_thesis_stands_there_as_its_preset_has_it():
    rows = re.findall(r"^\| (\d+) \|(.*)$", PAGE.read_text(encoding="utf-8"), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 16))
    for number, text in rows:
        preset = PRESETS[f"thesis-{number}"]
        data, network, clip, parameters, published, measured, *_ = (cell.strip() for cell in text.split("|"))
        model = preset.model
        kind = f"{model.variant}{' BC' if model.bottleneck else ''}, k {model.growth_rate}, depth {model.depth}"
        assert network == kind + (f", batch {preset.train.batch_size}" if preset.train.batch_size != 10 else "")
        assert clip == f"{preset.clip.frames}×{preset.storage.height}×{preset.storage.width}"
        assert (f"{data} {published}", parameters) == (preset.published, f"{preset.parameters:,}")
        assert measured


def test_the_commands_there_name_presets_and_protocols_that_fit():
    text = PAGE.read_text(encoding="utf-8")
    for name, protocol in re.findall(r"--preset (thesis-\d+) --protocol (\S+)", text):
        assert PRESETS[name].protocol == protocol
    assert len(re.findall(r"dn3d train .*--preset thesis-\d+", text)) == 2
