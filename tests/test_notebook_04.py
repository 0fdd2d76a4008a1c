"""Notebook 04 as papermill runs it, on a run of one's own with small clips."""

import re

from executed import outputs_of, printed


def test_notebook_04_looks_into_a_run_of_ones_own(papermill, trained, tmp_path):
    done = papermill("04_look_inside", run_dir=trained, action="walking", layer="block1_layer1_conv", unit=1, views=1, patch=8, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    executed = tmp_path / "04_look_inside.ipynb"
    text = printed(executed)
    assert "clips (4, 32, 32, 1) →" in text and "block1_layer1_conv  (frames, height, width, channels) = (4, 8, 8, 2)" in text
    assert "(3, 7, 7) places, 147 passes" in text, "2 of 4 frames in steps of 1, 8 of 32 pixels in steps of 4"
    assert "(sequences, features) (12, 5) → (12, 2)" in text, "the test part's 12 sequences"
    shares = re.search(r"same class: trained (.+), untrained (.+), guessing 0.17", text)
    assert shares and all(0 <= float(share) <= 1 for share in shares.groups())
    agreements = re.findall(r"^(?:boxing|handclapping|handwaving|jogging|running|walking) +(-?\d\.\d\d) +(-?\d\.\d\d)$", text, flags=re.M)
    assert len(agreements) == 6 and all(-1 <= float(number) <= 1 for pair in agreements for number in pair)
    assert text.count("not yet: put your answer") == 4
    pictures = [output["metadata"]["image/png"]["alt"] for output in outputs_of(executed) if "image/png" in output.get("data", {})]
    assert any("ringed: walking" in alt for alt in pictures) and any(alt.startswith("evidence for") for alt in pictures)
    assert not (tmp_path / "data").exists(), "the run's own data set is taken, no other is made"


def test_an_action_that_is_none_is_refused_in_a_sentence(papermill, trained):
    done = papermill("04_look_inside", run_dir=trained, action="dancing")
    assert done.returncode != 0 and "the parameter action is one of boxing, handclapping" in done.stderr
