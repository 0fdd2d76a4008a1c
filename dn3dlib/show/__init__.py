"""What a notebook shows. Whoever imports any of it in a kernel gets progress bars that a saved notebook can keep."""

from dn3dlib.progress import draw_bars_as
from dn3dlib.show.bars import HtmlBar, in_a_kernel

if in_a_kernel():
    draw_bars_as(HtmlBar)
