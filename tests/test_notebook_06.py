"""Notebook 06 as papermill runs it, on a few videos: what it says is looked at, not only that it ran."""

import re

from executed import outputs_of, printed


def test_notebook_06_on_a_few_videos(papermill, tmp_path, small_set):
    done = papermill("06_debug_the_original", data_dir=small_set, steps=3, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    executed = tmp_path / "06_debug_the_original.ipynb"
    text = printed(executed)
    assert "(clips, frames, height, width, channels) = (48, 16, 64, 64, 1)" in text
    assert "{1: 16848, 2: 16848, 4: 16848, 6: 16848}" in text, "case 1: the block does not grow"
    right = float(re.search(r"machine A: (\S+) of the names", text)[1])
    assert right > 0.5 and float(re.search(r"machine B: (\S+) of the names", text)[1]) < 0.5 * right
    assert "The split leaks: subject person" in text
    assert "original [0, 7, 15, 23, 31]" in text and "mended   [0, 8, 16, 24, 32, 34]" in text
    assert re.search(r"half\.avi +REFUSED +truncated", text)
    assert "counted too few:  {'never': 16, 'once': 32, 'twice or more': 0}" in text
    tables = ["".join(o["data"]["text/html"]) for o in outputs_of(executed) if "text/html" in o.get("data", {})]
    assert tables[-1].count("<tr>") > 10, "what each defect cost"
    pictures = [o for o in outputs_of(executed) if "image/png" in o.get("data", {})]
    assert len(pictures) == 11
    assert text.count("not yet: put your answer") == 3
    assert (tmp_path / "runs" / "shipped-honest" / "best.keras").is_file()
